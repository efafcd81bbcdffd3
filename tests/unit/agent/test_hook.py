"""The release hook runs once, to its end, whoever dies meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from release_site import Host

from deployer.agent.operation import OpError
from deployer.agent.release import release_hook
from deployer.agent.site import ledger
from deployer.agent.system import procfs

RELEASE = "20261101T100000Z-aaaaaaaa"
AGENT = """
import json, os, sys, fcntl
from deployer.agent import operation
args = json.loads(sys.argv[1])
lock = os.open(args["site"]["root"] + "/.deploy/lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
operation.find("hook.release")(operation.Context(), args)
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path).set_up()
    host.push(RELEASE)
    return host


def run_hook(host: Host, command: str, run: str = "run1", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"run": run, "release": RELEASE, "command": command, "env": {"GREETING": "hello"}}
    return host.call("hook.release", **{**given, "timeout": 30, "rerun_safe": False, **more})


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_it_runs_in_the_release_with_env_and_secrets_and_says_what_it_prints(host: Host) -> None:
    host.call("secrets.write", b"export DATABASE_URL='postgres://secret'\n")
    command = 'test "$DATABASE_URL" = postgres://secret && echo $GREETING $DEPLOY_RELEASE; pwd; echo url $DATABASE_URL'
    answer = run_hook(host, command)

    said = [f"hello {RELEASE}", host.site.release(RELEASE), "url •••"]
    assert answer == {"exit": 0, "output": "\n".join(said) + "\n", "skipped": False}
    assert host.lines()[-3:] == said
    events = [(e["event"], e["op"], e.get("ok")) for e in ledger.read(host.site)]
    assert events == [("intent", "hook", None), ("outcome", "hook", True)]
    assert not [name for name in os.listdir(host.site.state + "/hooks") if name.endswith(".json")]


def test_a_second_run_for_the_same_release_skips_it(host: Host) -> None:
    run_hook(host, "echo once >> $OUT", env={"OUT": str(host.folder / "out")})
    assert run_hook(host, "echo once >> $OUT", run="run2", env={"OUT": str(host.folder / "out")})["skipped"]
    assert (host.folder / "out").read_text() == "once\n"


def test_a_hook_of_several_lines_stops_at_the_first_that_fails(host: Host) -> None:
    with pytest.raises(OpError) as caught:
        run_hook(host, "echo migrate\nfalse\necho after\n")
    assert caught.value.code == "hook_failed" and host.lines()[-1] == "migrate"
    assert run_hook(host, "false; echo one line\n", run="run2")["exit"] == 0


def test_a_failed_hook_shows_why_and_may_be_tried_again(host: Host) -> None:
    with pytest.raises(OpError) as caught:
        run_hook(host, "echo table users is locked >&2; exit 4")
    assert caught.value.code == "hook_failed" and "exit status 4" in caught.value.message
    assert caught.value.log == ["table users is locked"]
    assert run_hook(host, "true", run="run2")["exit"] == 0


def test_a_hook_that_takes_too_long_is_ended_with_all_its_children(host: Host) -> None:
    with pytest.raises(OpError, match=r"timed out after 1\.5 s$") as caught:
        run_hook(host, "trap '' TERM; sleep 600 & echo $! > ../../child; while :; do wait; done", timeout=1.5)
    assert "hooks.release.timeout (1.5 s)" in caught.value.hint
    child = int(Path(host.site.root, "child").read_text())
    until(lambda: procfs.process(child) is None or procfs.process(child).dead)  # type: ignore[union-attr]


def start_agent(host: Host, command: str) -> subprocess.Popen[bytes]:
    args = {
        "site": host.site.to_wire(),
        "run": "run1",
        "release": RELEASE,
        "command": command,
        "env": {},
        "timeout": 60,
    }
    return subprocess.Popen([sys.executable, "-c", AGENT, json.dumps(args)], start_new_session=True)


def lock_is_free(host: Host) -> bool:
    fd = os.open(host.site.lock, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def test_the_agent_is_killed_and_the_hook_goes_on_holding_the_lock(host: Host) -> None:
    go, fds = host.folder / "go", host.folder / "fds"
    agent = start_agent(host, f"ls -l /proc/self/fd > {fds}; echo begun; until test -e {go}; do sleep 0.02; done")
    log = Path(host.site.state, "hooks/run1.log")
    until(lambda: log.exists() and "begun" in log.read_text())
    os.killpg(agent.pid, signal.SIGKILL)  # all of its session, as at the end of a login
    agent.wait()

    assert not lock_is_free(host)
    assert ".deploy/lock" not in fds.read_text() and ".running" not in fds.read_text()
    # somebody comes back meanwhile: he joins it, and does not start it anew
    found: list[dict[str, Any]] = []
    joined = threading.Thread(target=lambda: found.append(run_hook(host, "echo twice", run="run2")))
    joined.start()
    until(lambda: "begun" in host.lines())
    go.touch()
    joined.join(20)
    assert found and found[0]["output"] == "begun\n"
    until(lambda: lock_is_free(host))
    assert [e.get("ok") for e in ledger.read(host.site)] == [None, True]
    assert run_hook(host, "echo thrice", run="run3")["skipped"]


def test_a_runner_that_was_killed_too_leaves_an_unknown_outcome(host: Host) -> None:
    agent = start_agent(host, "echo half of it; sleep 600")
    log = Path(host.site.state, "hooks/run1.log")
    until(lambda: log.exists() and "half" in log.read_text())
    runner = int(Path(host.site.state, f"hooks/{RELEASE}.running").read_text())
    children = [pid for pid in procfs.pids() if (p := procfs.process(pid)) is not None and p.ppid == runner]
    agent.kill()
    os.kill(runner, signal.SIGKILL)
    for child in children:
        os.killpg(child, signal.SIGKILL)
    agent.wait()
    until(lambda: lock_is_free(host))

    with pytest.raises(OpError) as caught:
        run_hook(host, "echo again", run="run2")
    assert caught.value.code == "unknown_outcome"
    assert caught.value.log == ["half of it"] and caught.value.detail["run"] == "run1"
    assert "rerun: safe" in caught.value.hint
    assert run_hook(host, "echo again", run="run2", rerun_safe=True)["output"] == "again\n"


def test_a_command_that_left_a_daemon_behind_is_not_waited_for(host: Host) -> None:
    answer = run_hook(host, "(sleep 600 & echo $! > ../../daemon) ; echo done")
    os.kill(int(Path(host.site.root, "daemon").read_text()), signal.SIGKILL)
    assert answer["output"] == "done\n"


def test_a_runner_that_hangs_past_its_time_limit_is_not_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_hook, "_OVERTIME", 0.5)
    stopped: list[int] = []

    def stop_runner() -> None:
        held = Path(host.site.state, "hooks", RELEASE + ".running")
        until(lambda: held.exists() and held.read_text().strip())
        stopped.append(int(held.read_text()))
        os.kill(stopped[0], signal.SIGSTOP)

    stopping = threading.Thread(target=stop_runner)
    stopping.start()
    try:
        with pytest.raises(OpError, match="still runs after its time limit") as caught:
            run_hook(host, "sleep 600", timeout=1)
        assert caught.value.code == "unknown_outcome"
    finally:
        stopping.join()
        os.kill(stopped[0], signal.SIGCONT)
    runner = procfs.process(stopped[0])
    until(lambda: runner is None or not procfs.alive(runner))
