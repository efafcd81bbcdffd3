"""Processes and sockets as `/proc` shows them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployer.agent.system import procfs


def test_a_program_whose_name_looks_like_fields_is_read_rightly(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", odd)
    before = procfs.now()
    started = subprocess.Popen([str(odd), "600"])
    try:
        found = procfs.process(started.pid)
        assert found is not None
        assert found.ppid == os.getpid()
        assert before - 0.02 <= found.started <= procfs.now()
        assert procfs.alive(found)
        assert list(procfs.ancestors(started.pid))[:2] == [started.pid, os.getpid()]
        started.kill()
        with open(f"/proc/{started.pid}/stat"):  # a zombie until it is reaped
            assert not procfs.alive(found) or procfs.process(started.pid) is not None
    finally:
        started.kill()
        started.wait()
    assert not procfs.alive(found)
    assert procfs.process(started.pid) is None


def test_a_zombie_does_not_live() -> None:
    started = subprocess.Popen([sys.executable, "-c", "pass"])
    found = procfs.process(started.pid)
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert not procfs.alive(found)
    started.wait()


@pytest.mark.parametrize(
    ("bound", "asked", "covered"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_a_listener_is_found_under_every_form_of_its_address(bound: str, asked: str, covered: bool) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((bound, 0))
        port = server.getsockname()[1]
        assert procfs.listeners([port]) == [], "bound is not yet listening"
        server.listen()
        (found,) = procfs.listeners([port])
        assert procfs.covers(found, asked) is covered
        assert procfs.holders([found.inode]) == {found.inode: {os.getpid()}}
        assert found.uid == os.getuid()


def test_a_unix_socket_is_found_by_its_path_and_its_connections_are_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "a socket")
    connecting = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    with socket.socket(socket.AF_UNIX) as server, connecting[0], connecting[1]:
        server.bind(path)
        assert procfs.unix_listeners([path]) == [], "bound is not yet listening"
        server.listen()
        (found,) = procfs.unix_listeners([path])
        assert procfs.holders([found.inode]) == {found.inode: {os.getpid()}}
        assert (found.address, found.uid) == (path, os.getuid())
        assert procfs.unix_connections_to(path) == 0
        for each in connecting:
            each.connect(path)
        assert procfs.unix_connections_to(path) == 2, "who waits to be accepted counts"
        taken = [server.accept()[0] for _ in connecting]
        assert procfs.unix_connections_to(path) == 2
        taken[0].close()
        connecting[1].close()
        assert procfs.unix_connections_to(path) == 1, "one whose user has gone is still worked on"
        taken[1].close()
        assert procfs.unix_connections_to(path) == 0
        assert procfs.unix_listeners([path + "2"]) == []


def test_memory_is_counted_once_however_many_share_it() -> None:
    hold = "x = bytearray(200 << 20)\nfor at in range(0, len(x), 4096): x[at] = 1\n"
    # In one write each: two that print may write into each other's lines.
    fork = "import os, time\nos.fork()\nos.write(1, b'%d\\n' % os.getpid())\ntime.sleep(600)\n"
    command = [sys.executable, "-c", hold + fork]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as started:
        try:
            assert started.stdout is not None
            pids = [int(started.stdout.readline()) for _ in range(2)]
            assert 200 << 20 <= procfs.memory(pids) < 300 << 20
        finally:
            os.killpg(started.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while procfs.memory(pids) and time.monotonic() < deadline:  # the kernel may still be ending the second one
        time.sleep(0.05)
    assert procfs.memory(pids) == 0


def test_the_cgroup_of_a_unit_is_only_that_units(monkeypatch: pytest.MonkeyPatch) -> None:
    assert procfs.in_unit(os.getpid(), "shop-8000") is False
    assert procfs.in_unit(os.getpid(), "no-such-unit.service") is False
