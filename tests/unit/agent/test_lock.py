"""Two agents want the same site."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from supervised import wait_until

from deployer.agent.channel import shutdown
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.lock import LockTaken, TakeLock
from deployer.agent.operation import Context, OpError
from deployer.agent.site import ledger, lock

HOLD = """
import json, os, subprocess, sys
from deployer.agent.site import lock
from deployer.agent.operation import Context
args = json.loads(sys.argv[1])
lock._PULSE_S = float(os.environ.get("PULSE", lock._PULSE_S))
lock.take(Context(), args)
if "child" in sys.argv[2]:
    child = subprocess.Popen(["sleep", "600"], close_fds=False).pid
elif "fork" in sys.argv[2]:
    child = os.fork()
    if child == 0:
        import time
        time.sleep(600)
else:
    child = 0
print(child, flush=True)
sys.stdin.readline()
lock.release(Context(), args)
print("released", flush=True)
sys.stdin.readline()
"""

LOOK = """
import json, sys, threading
from deployer.agent.site import lock
from deployer.agent.model.layout import Site
site, over, looks = Site(**json.loads(sys.argv[1])), threading.Event(), 0
threading.Thread(target=lambda: sys.stdin.readline() and over.set()).start()
print("ready", flush=True)
while not over.is_set():
    lock.holder(site)
    looks += 1
print(looks)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Site]:
    site = Site(app="shop", env="prod", root=str(tmp_path / "srv"), prefix=str(tmp_path))
    yield site
    lock.release(Context(), {"site": site.to_wire()})


def args(shop: Site, run: str = "mine", wait: float = 0) -> TakeLock:
    return {"site": shop.to_wire(), "run": run, "who": run + "@laptop", "wait": wait}


@contextmanager
def another_agent(shop: Site, kind: str = "") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    argv = [sys.executable, "-c", HOLD, json.dumps(args(shop, "theirs")), kind]
    started = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert started.stdout is not None
    child = int(started.stdout.readline())
    try:
        yield started, child
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
        started.kill()
        started.communicate()


def take(shop: Site, **more: Any) -> LockTaken:
    return lock.take(Context(), args(shop, **more))


def test_the_second_is_told_who_holds_it(shop: Site) -> None:
    with another_agent(shop) as (agent, _):
        with pytest.raises(OpError) as refused:
            take(shop)
        error = refused.value
        assert error.code == "locked"
        assert "theirs@laptop" in error.message
        assert (error.detail["run"], error.detail["pid"]) == ("theirs", agent.pid)
        assert abs(error.detail["since"] - time.time()) < 60
        assert lock.holder(shop) == error.detail


@pytest.mark.parametrize("kind", ["", "child", "fork"])
def test_it_ends_with_its_holder_whatever_children_that_one_left(shop: Site, kind: str) -> None:
    with another_agent(shop, kind) as (agent, child):
        agent.kill()
        agent.wait()
        # A fork needs a moment to drop its copy; what the dead wrote never counts.
        wait_until(lambda: lock.holder(shop) is None, "the end of the lock", 10)
        assert take(shop) == {"taken": True}
        assert not child or Path(f"/proc/{child}").exists()
    assert (lock.holder(shop) or {})["run"] == "mine"


def test_it_is_given_back_before_the_end(shop: Site) -> None:
    with another_agent(shop) as (agent, _):
        assert agent.stdin is not None and agent.stdout is not None
        agent.stdin.write(b"\n")
        agent.stdin.flush()
        assert agent.stdout.readline() == b"released\n"
        assert take(shop) == {"taken": True}
    assert lock.release(Context(), {"site": shop.to_wire()}) == {"released": True}
    assert lock.release(Context(), {"site": shop.to_wire()}) == {"released": False}


def test_a_removed_file_does_not_make_two_holders(shop: Site) -> None:
    """The waiter has opened the old file before it is replaced; what it then locks is not the lock any more."""
    with another_agent(shop):
        old = os.open(shop.lock, os.O_RDWR)
        os.unlink(shop.lock)
        with another_agent(shop), pytest.raises(OpError, match="locked by"):
            take(shop)
        os.close(old)


def test_a_file_replaced_between_open_and_lock_is_locked_anew(shop: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    real = lock._opened

    def replaced_once(path: str) -> int:
        fd = real(path)
        opened.append(fd)
        if len(opened) == 1:
            os.unlink(path)
        return fd

    monkeypatch.setattr(lock, "_opened", replaced_once)
    take(shop)
    assert len(opened) == 2
    assert os.path.samestat(os.stat(shop.lock), os.fstat(opened[1]))
    assert (lock.holder(shop) or {})["run"] == "mine"


def test_it_waits_when_asked_and_says_for_whom(shop: Site) -> None:
    told: list[dict[str, Any]] = []
    with another_agent(shop) as (agent, _):
        threading.Timer(0.6, agent.kill).start()
        taken = lock.take(Context(emit=told.append), args(shop, wait=20))
    assert taken == {"taken": True}
    assert told[0]["event"] == "waiting" and told[0]["holder"]["who"] == "theirs@laptop"


def test_a_wait_ends_when_its_time_is_up_or_when_it_is_cancelled(shop: Site) -> None:
    with another_agent(shop):
        began = time.monotonic()
        with pytest.raises(OpError) as late:
            take(shop, wait=0.6)
        assert late.value.code == "locked"
        assert 0.5 < time.monotonic() - began < 5
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(OpError) as cancelled:
            lock.take(Context(cancelled=stop), args(shop, wait=60))
        assert cancelled.value.code == "cancelled"


def test_surveys_that_look_do_not_get_in_the_way(shop: Site) -> None:
    take(shop)
    lock.release(Context(), {"site": shop.to_wire()})
    argv = [sys.executable, "-c", LOOK, json.dumps(asdict(shop))]
    looker = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert looker.stdout is not None
    looker.stdout.readline()
    try:
        for _ in range(200):
            take(shop)
            lock.release(Context(), {"site": shop.to_wire()})
    finally:
        said, _ = looker.communicate(b"enough\n")
    assert json.loads(said) > 100, "it hardly looked"


def test_the_hosts_own_lock_is_short_and_bounded(shop: Site) -> None:
    with lock.host_lock(shop):
        with pytest.raises(OpError) as busy, lock.host_lock(shop, bound=0.3):
            pass
        assert busy.value.code == "host_busy"
    with lock.host_lock(shop, bound=0.3):
        assert os.path.exists(shop.host_lock)


def test_a_lock_whose_controller_is_gone_says_so_and_until_when(shop: Site) -> None:
    take(shop)
    holder = lock.holder(shop)
    assert holder is not None and holder["lost"] is None
    shutdown.the_end.notice(42.0)
    holder = lock.holder(shop)
    assert holder is not None and holder["lost"] is not None and holder["until"] is not None
    assert abs(holder["lost"] - time.time()) < 30 and 30 < holder["until"] - holder["lost"] < 60
    assert (holder["run"], holder["who"]) == ("mine", "mine@laptop")


def test_what_is_guarded_longest_decides_until_when() -> None:
    ends, told = shutdown.ShutdownHooks(), list[float]()
    ends.on_notice(told.append)
    ends.bound(lambda: 100.0)
    ends.notice(5.0)
    assert 90 < told[0] - time.time() < 110


def test_the_ledger_has_the_beginning_of_a_run_that_took_the_lock(shop: Site) -> None:
    lock.take(Context(), {**args(shop), "command": "push"})
    lock.take(Context(), {**args(shop), "command": "push"})
    (begun,) = ledger.read(shop)
    assert {"event": "begun", "run": "mine", "who": "mine@laptop", "command": "push"}.items() <= begun.items()


def test_a_holder_that_is_stopped_is_told_from_one_that_works(shop: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_SILENT_S", 0.5)
    monkeypatch.setenv("PULSE", "0.05")
    with another_agent(shop) as (agent, _):
        wait_until(lambda: (lock.holder(shop) or {})["silent"] is None, "a sign of life", 10)
        time.sleep(0.6)  # longer than a silent one may be
        assert (lock.holder(shop) or {})["silent"] is None
        agent.send_signal(signal.SIGSTOP)
        wait_until(lambda: (lock.holder(shop) or {})["silent"] is not None, "its silence", 10)
        with pytest.raises(OpError) as refused:
            take(shop)
        assert refused.value.detail["silent"] is not None and refused.value.detail["pid"] == agent.pid
        agent.send_signal(signal.SIGCONT)
        wait_until(lambda: (lock.holder(shop) or {})["silent"] is None, "the next sign of life", 10)


def test_a_lock_that_follows_another_at_once_shows_life_too(shop: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the end of the first one's thread and the beginning of the second lock meet."""
    monkeypatch.setattr(lock, "_PULSE_S", 0.001)
    for _ in range(100):
        take(shop)
        lock.release(Context(), args(shop))
    take(shop)
    os.utime(shop.lock, (0, 0))
    wait_until(lambda: os.stat(shop.lock).st_mtime > 0, "a touch", 10)
    lock.release(Context(), args(shop))
    wait_until(lambda: "lock-pulse" not in {thread.name for thread in threading.enumerate()}, "the thread's end", 10)


HOG = """
import fcntl, os, sys
os.setgid(65534), os.setuid(65534)
try:
    descriptor = os.open(sys.argv[1], os.O_RDONLY)
except PermissionError:
    print("denied", flush=True)
else:
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def hog(path: str) -> Iterator[str]:
    """Another user who holds the lock of a file for as long as the block, if that user can; yields whether."""
    argv = [sys.executable, "-I", "-c", HOG, path]
    started = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    yield started.stdout.readline().strip()
    started.communicate("\n", timeout=60)


@pytest.fixture
def passable(shop: Site, tmp_path: Path) -> Site:
    """A site that other users may look for, as on a host."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    tmp_path.chmod(0o755)
    return shop


def test_no_other_user_can_hold_the_locks(passable: Site) -> None:
    with lock.host_lock(passable):
        pass
    lock.take(Context(), args(passable))
    lock.release(Context(), args(passable))
    for path in (passable.lock, passable.host_lock):
        with hog(path) as outcome:
            assert outcome == "denied"
            lock.take(Context(), args(passable))
            lock.release(Context(), args(passable))
            with lock.host_lock(passable, bound=0.2):
                pass


def test_the_file_of_an_earlier_version_that_others_have_open_is_replaced(passable: Site) -> None:
    Path(passable.lock).parent.mkdir(parents=True)
    Path(passable.lock).touch(0o644)
    before = os.open(passable.lock, os.O_RDONLY)
    try:
        lock.take(Context(), args(passable))
        fcntl.flock(before, fcntl.LOCK_SH | fcntl.LOCK_NB)  # of the file that was there: in nobody's way
        current_holder = lock.holder(passable)
        assert current_holder is not None and current_holder["run"] == "mine"
        attempt = [sys.executable, "-c", HOLD, json.dumps(args(passable, "theirs")), ""]
        assert "OpError" in subprocess.run(attempt, stdin=subprocess.DEVNULL, capture_output=True, text=True).stderr
    finally:
        os.close(before)
    assert Path(passable.lock).stat().st_mode & 0o777 == 0o600


def test_the_file_of_an_earlier_version_is_left_to_its_holder(passable: Site) -> None:
    Path(passable.lock).parent.mkdir(parents=True)
    Path(passable.lock).touch(0o644)
    with hog(passable.lock) as outcome, pytest.raises(OpError) as raised:
        assert outcome == "held"
        lock.take(Context(), args(passable))
    assert raised.value.code == "locked"
    lock.take(Context(), args(passable))
