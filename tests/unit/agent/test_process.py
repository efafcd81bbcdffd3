"""Programs as operations run them: they end in time, whole groups of them, and say what there is to say."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from deployer.agent.system import process_runner
from deployer.agent.system.process_runner import run, tail


def test_status_and_both_streams() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=20)
    assert (done.exit, done.signal, done.stdout, done.stderr, done.timed_out) == (3, None, "out\n", "err\n", False)
    assert done.why == "exit status 3" and not done.ok


def test_a_killed_program_is_a_failure_and_named_as_such() -> None:
    done = run(["sh", "-c", "kill -9 $$"], timeout=20)
    assert (done.exit, done.signal, done.why) == (137, 9, "killed by SIGKILL")


def test_a_program_that_is_not_there_ends_like_in_a_shell(tmp_path: Path) -> None:
    assert run(["/no/such/program"], timeout=20).exit == 127
    (tmp_path / "plain").write_text("")
    assert run([str(tmp_path / "plain")], timeout=20).exit == 126
    assert "/no/such/folder" in run(["true"], timeout=20, cwd="/no/such/folder").stderr


@pytest.mark.parametrize("starter", ["exec", "exec setsid", "exec setsid -w"])
def test_at_a_timeout_the_children_go_too(tmp_path: Path, starter: str) -> None:
    """Also those that have left the process group."""
    pids = tmp_path / "pids"
    script = f"(trap '' TERM; echo $$ >> {pids}; {starter} sleep 600) & echo $! >> {pids}; wait"
    began = time.monotonic()
    done = run(["sh", "-c", script], timeout=0.3)
    assert done.timed_out and not done.ok
    assert time.monotonic() - began < 10
    while any(map(_running, map(int, pids.read_text().split()))):
        assert time.monotonic() - began < 20
        time.sleep(0.02)


def test_a_group_that_obeys_term_has_time_to_say_so() -> None:
    done = run(["sh", "-c", "trap 'sleep 0.2; echo bye; exit 7' TERM; while :; do sleep 0.02; done"], timeout=0.3)
    assert done.timed_out and done.stdout == "bye\n" and done.exit == 7


def test_cancelling_ends_it_early() -> None:
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    done = run(["sleep", "600"], timeout=600, cancelled=cancelled)
    assert done.cancelled and not done.timed_out and done.seconds < 10


def test_a_daemon_that_keeps_our_pipes_is_not_waited_for(tmp_path: Path) -> None:
    done = run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; echo started"], timeout=30)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert done.ok and done.stdout == "started\n" and done.seconds < 10
        assert _running(pid)
    finally:
        os.kill(pid, 9)


def test_a_child_that_goes_on_printing_is_not_waited_for_either() -> None:
    began = time.monotonic()
    done = run(["sh", "-c", "(while echo tick; do sleep 0.05; done) & echo begun"], timeout=600)
    assert time.monotonic() - began < 60 and done.ok and "begun" in done.stdout


def test_a_program_that_not_even_kill_ends_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_runner, "_TERM_GRACE", 0.1)
    monkeypatch.setattr(process_runner, "_UNKILLABLE", 0.3)
    monkeypatch.setattr(
        process_runner._Group, "signal", lambda self, number: None
    )  # as for one that hangs in the kernel
    began = time.monotonic()
    done = run(["sleep", "20"], timeout=0.1)
    assert time.monotonic() - began < 15 and done.timed_out and done.signal == 9


def test_only_the_end_of_much_output_is_kept() -> None:
    done = run(["sh", "-c", "seq 1 200000; echo end"], timeout=60, limit=1000)
    assert len(done.stdout) == 1000 and done.stdout.endswith("200000\nend\n")
    assert tail(done.stdout, 2) == ["200000", "end"]


def test_lines_come_one_by_one_and_an_unfinished_last_one_too() -> None:
    lines: list[str] = []
    run(["printf", "a\\r\\nb\\n\\377c"], timeout=20, on_line=lines.append)
    assert lines == ["a", "b", "\ufffdc"]


def test_input_of_any_size_even_if_it_is_not_wanted() -> None:
    assert run(["wc", "-c"], timeout=60, input=b"x" * 3_000_000).stdout.strip() == "3000000"
    assert run(["true"], timeout=60, input=b"x" * 3_000_000).ok
    assert run(["cat"], timeout=20).stdout == ""  # /dev/null


def test_nothing_of_ours_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        listing = run(["ls", "-l", "/proc/self/fd"], timeout=20).stdout
    assert str(tmp_path) not in listing
    assert run(["env"], timeout=20, env={"A": "1", "PATH": "/usr/bin:/bin"}).stdout.split() == [
        "A=1",
        "PATH=/usr/bin:/bin",
    ]
    script = "import os; print(os.getpid() == os.getsid(0))"
    assert run(["/usr/bin/env", "python3", "-c", script], timeout=20).stdout == "True\n"


def test_stderr_can_go_where_stdout_goes() -> None:
    done = run(["sh", "-c", "echo a; echo b >&2; echo c"], timeout=20, merge_stderr=True)
    assert (done.stdout, done.stderr) == ("a\nb\nc\n", "")


def test_an_unknown_user_is_an_error_where_users_can_be_switched() -> None:
    if os.geteuid() != 0:
        assert run(["true"], timeout=20, user="nobody-of-that-name").ok
        return
    with pytest.raises(Exception, match="no user nobody-of-that-name"):
        run(["true"], timeout=20, user="nobody-of-that-name")
    told = run(["sh", "-c", "id -un; id -gn; echo $HOME"], timeout=20, user="daemon").stdout.split()
    assert told[0] == "daemon" and told[2] != os.path.expanduser("~")


def _running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_another_user_gets_nothing_of_our_session(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root changes users")
    for name in ("XDG_RUNTIME_DIR", "SSH_CONNECTION", "DBUS_SESSION_BUS_ADDRESS", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of root")
    done = run(["env"], timeout=20, user="nobody")
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names == {"PATH", "LANG", "SHELL", "HOME", "USER", "LOGNAME"} | ({"TZ"} & set(os.environ))
    assert "of root" not in done.stdout and "USER=nobody" in done.stdout
