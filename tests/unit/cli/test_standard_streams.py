"""Standard streams that are closed, full or read by nobody: an answer or an error, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKS = """
import sys, time
import typer
from deployer.cli.options import Common
from deployer.cli.run import carry_out
from deployer.errors import InterruptedRun
from deployer.events import Text
from deployer.stopping import requester
import deployer.cli.app

def work(invocation):
    bus, stop = invocation.bus, invocation.stop
    bus.emit(Text("a line"))
    bus.flush()
    if sys.argv[1] == "exec" and stop.wait(20):
        raise InterruptedRun(f"stopped by {requester(stop)}")

def app():
    try:
        carry_out(sys.argv[1], Common(output="plain"), work)
    except typer.Exit as end:
        sys.exit(end.exit_code)

deployer.cli.app.app = app
deployer.cli.main()
"""


def run(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs words by this Python, with a shell's redirection."""
    command = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_as_one_to_nowhere(closed: str, tmp_path: Path) -> None:
    done = run(closed, "-m", "deployer", "status", "prod", "-c", str(tmp_path / "none.yaml"))
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_full_disk_is_an_error_of_the_output() -> None:
    done = run("> /dev/full", "-c", WORKS, "status")
    assert done.returncode == 1
    assert "error: the output could not be written\n  why:   No space left on device" in done.stderr


@pytest.mark.parametrize("command, status, words", [("status", 0, ""), ("exec", 130, "stopped by a closed output")])
def test_a_reader_that_leaves_is_no_person_who_stops(command: str, status: int, words: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as out:
        argv = [sys.executable, "-c", WORKS, command]
        done = subprocess.run(argv, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == status and words in done.stderr and "Traceback" not in done.stderr


def test_a_current_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    words = [str(tmp_path / "gone"), sys.executable, "-P", "-m", "deployer", "status", "prod"]
    done = subprocess.run(["/bin/sh", "-c", script, "sh", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "the current folder does not exist any more" in done.stderr
    assert "Traceback" not in done.stderr
