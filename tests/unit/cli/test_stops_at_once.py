"""Ctrl-C or SIGTERM twice ends the process, whatever holds it: locks, loops, threads, libraries, a stopped terminal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.terminal import CTRL_C, CTRL_S, Terminal

WITHIN_S = 15.0
"""Generous for a busy machine: the process itself takes less than one."""

PROGRAM = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import typer
from deployer import local_program
from deployer.cli.options import Common
from deployer.cli.run import carry_out
from deployer.events import Output, StepStarted
import deployer.cli.app

def lock(bus, stop):
    mine = threading.Lock()
    mine.acquire()
    mine.acquire()

def loop(bus, stop):
    while True:
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            pass

def busy(bus, stop):
    while True:
        try:
            while True:
                pass
        except KeyboardInterrupt:
            pass

def threads(bus, stop):
    with ThreadPoolExecutor(4) as pool:
        pool.submit(time.sleep, 600).result()

def screen(bus, stop):
    for number in range(2_000):
        bus.emit(Output("x" * 200))
    bus.flush()
    lock(bus, stop)

def rich(bus, stop):
    import rich.console
    def hold(self, *args, **options):
        time.sleep(600)
    rich.console.Console.print = hold
    bus.emit(Output("never shown by rich"))
    bus.flush()
    lock(bus, stop)

def program(bus, stop):
    local_program.run(["sleep", sys.argv[3]], timeout=600)

def work(invocation):
    bus, stop = invocation.bus, invocation.stop
    bus.emit(StepStarted("switch", host="web1"))
    bus.flush()
    print("READY", flush=True)
    if sys.argv[1] == "stuck":  # the program runs in a thread, and nobody hears the second Ctrl-C
        threading.Thread(target=program, args=(bus, stop), daemon=True).start()
        loop(bus, stop)
    globals()[sys.argv[1]](bus, stop)

def app():
    try:
        carry_out("push", Common(output=sys.argv[2]), work)
    except typer.Exit as end:
        sys.exit(end.exit_code)

deployer.cli.app.app = app
deployer.cli.main()
"""


def start(state: str, output: str, folder: Path) -> Terminal:
    return Terminal([sys.executable, "-c", PROGRAM, state, output], folder)


@pytest.mark.parametrize("output", ["rich", "plain"])
@pytest.mark.parametrize("state", ["lock", "loop", "busy", "threads", "screen", "rich"])
def test_ctrl_c_twice_on_a_terminal(state: str, output: str, tmp_path: Path) -> None:
    with start(state, output, tmp_path) as terminal:
        terminal.until("READY")
        if state == "screen":
            terminal.types(CTRL_S)
        terminal.types(CTRL_C)
        terminal.until("winding up")
        began = time.monotonic()
        terminal.types(CTRL_C)
        assert terminal.end(60) == 6, terminal.text
        assert time.monotonic() - began < WITHIN_S
        if state != "screen":  # a terminal that takes nothing shows nothing
            assert "stopped at once; the hosts wind up by themselves" in terminal.screen
            assert terminal.cursor_shown


def test_sigterm_twice_ends_json_lines_with_the_closing_event(tmp_path: Path) -> None:
    with start("loop", "json", tmp_path) as terminal:
        terminal.until("READY")
        terminal.signal(signal.SIGTERM)
        terminal.until("winding up")
        terminal.signal(signal.SIGTERM)
        assert terminal.end(60) == 6
        closing = json.loads(terminal.screen.splitlines()[-1])
        assert (closing["event"], closing["exit_status"], closing["error"]["code"]) == ("run.finished", 6, "stopped")


@pytest.mark.parametrize("state", ["program", "stuck"])
def test_a_program_that_was_started_ends_too(state: str, tmp_path: Path) -> None:
    seconds = f"600.{os.getpid()}"
    words = [sys.executable, "-c", PROGRAM, state, "plain", seconds]
    with Terminal(words, tmp_path) as terminal:
        terminal.until("READY")
        wait_until(lambda: running(["sleep", seconds]))
        terminal.types(CTRL_C)
        terminal.until("winding up")
        terminal.types(CTRL_C)
        assert terminal.end(60) == 6, terminal.text
        wait_until(lambda: not running(["sleep", seconds]))


def running(words: list[str]) -> bool:
    line = "\0".join([*words, ""]).encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if entry.read_bytes() == line:
                return True
    return False


def wait_until(condition: Callable[[], bool], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
