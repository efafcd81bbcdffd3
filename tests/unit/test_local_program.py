"""Programs on this machine: they end when they end, and a timeout ends all that they started."""

from __future__ import annotations

import ast
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import deployer
from deployer import local_program, process_tree
from deployer.agent.system import procfs
from deployer.agent.system.process_runner import Finished

PACKAGE = Path(deployer.__file__).parent
Run = Callable[..., Finished]


def lives(pid: int) -> bool:
    known = procfs.process(pid)
    return known is not None and not known.dead


def pids_in(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()]


@pytest.mark.parametrize("run", [local_program.run, local_program.run_at_terminal])
def test_what_is_left_behind_with_the_pipe_is_not_waited_for(run: Run, tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(["sh", "-c", f"sleep 300 & echo $! > {tmp_path}/pid; echo value"], timeout=200)
    try:
        assert done.ok and done.stdout == "value\n"
        assert time.monotonic() - began < 60
        assert lives(pids_in(tmp_path / "pid")[0]), "a daemon that a command leaves behind is its own business"
    finally:
        process_tree.kill(pids_in(tmp_path / "pid"))


@pytest.mark.parametrize("run", [local_program.run, local_program.run_at_terminal])
def test_a_timeout_ends_children_and_orphans(run: Run, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"(sleep 300 & echo $! >> {pids}); sleep 300 & echo $! >> {pids}; wait"
    done = run(["sh", "-c", script], timeout=0.5)
    assert done.timed_out and len(pids_in(pids)) == 2
    deadline = time.monotonic() + 20
    while any(map(lives, pids_in(pids))):
        assert time.monotonic() < deadline, "a process outlived the timeout"
        time.sleep(0.02)


def test_one_at_the_terminal_spares_what_ran_before_and_other_sessions(tmp_path: Path) -> None:
    before = subprocess.Popen(["sleep", "300"])
    try:
        script = f"setsid sleep 300 & echo $! > {tmp_path}/pid; sleep 300"
        assert local_program.run_at_terminal(["sh", "-c", script], timeout=0.5).timed_out
        assert before.poll() is None
    finally:
        before.kill()
        before.wait()
        process_tree.kill(pids_in(tmp_path / "pid"))


def test_bytes_survive(tmp_path: Path) -> None:
    done = local_program.run(["printf", r"caf\351"], timeout=20)
    assert os.fsencode(done.stdout) == b"caf\xe9"


def test_a_program_that_is_not_there_did_not_start() -> None:
    done = local_program.run(["/no/such/program"], timeout=20)
    assert not done.started and not done.ok and "/no/such/program" in done.stderr


def test_one_at_the_terminal_can_ask_there() -> None:
    ask = "sh -c 'read -r answer < /dev/tty; echo got $answer'"
    program = (
        f"from deployer import local_program; print(local_program.run_at_terminal(['sh','-c',{ask!r}], timeout=60))"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", program])
    os.write(terminal, b"s3cret\n")
    shown = b""
    deadline = time.monotonic() + 60
    while b"Finished(" not in shown and time.monotonic() < deadline:
        shown += os.read(terminal, 4096)
    os.waitpid(pid, 0)
    os.close(terminal)
    assert b"got s3cret" in shown


def test_nothing_on_the_controller_waits_for_the_end_of_a_pipe() -> None:
    """`subprocess.run` with captured output reads until the last holder of the pipe has gone, whatever its timeout."""
    offenders = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("agent", "lab"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("run", "check_output", "communicate"):
                owner = node.value
                if node.attr == "communicate" or (isinstance(owner, ast.Name) and owner.id == "subprocess"):
                    offenders.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not offenders
