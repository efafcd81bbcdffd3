"""The three ways a run is shown while it goes on: rich on a terminal, plain in a log, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Literal, TextIO

from deployer import events
from deployer.report.lines import PLACE_WIDTH, line_of, width_of

if TYPE_CHECKING:
    from rich.console import Console

Format = Literal["rich", "plain", "json"]


def json_line(event: events.Event) -> str:
    """Return the event as one line of JSON, in ASCII, which every output can take."""
    return json.dumps(event.as_json(), default=str)


class JsonLines:
    """One JSON object a line, flushed at once."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        if event.for_people:
            return
        text = json_line(event)
        with self._lock:
            self._out.write(text + "\n")
            self._out.flush()


class Plain:
    """One line an event with the time of day, for logs and pipelines."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._lock = threading.Lock()
        self._width = PLACE_WIDTH

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.RunStarted):
            self._width = width_of(event)
        line = line_of(event, self._width)
        if line is None:
            return
        stamp = time.strftime("%H:%M:%S", time.localtime(event.ts))
        with self._lock:
            for part in line.splitlines():
                self._out.write(f"{stamp} {part}\n")
            self._out.flush()


class Rich:
    """The same lines with colour, and the steps that run now at the bottom."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live
        from rich.spinner import Spinner

        self._console = console or RichConsole(highlight=False)
        self._spinner = Spinner("dots", style="status.spinner")
        # The process's streams stay as they are: what else writes there does so when `settle` has left the screen.
        self._live = Live(
            self._spinner,
            console=self._console,
            refresh_per_second=12.5,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._running: dict[tuple[str, str], str] = {}
        self._width = PLACE_WIDTH
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        from rich.text import Text

        with self._lock:
            self._follow(event)
            line = line_of(event, self._width)
            if line is not None and not isinstance(event, events.StepRunning):  # the live line says that
                self._console.print(Text(line, style=self._style(event)))

    def settle(self) -> None:
        """Take the live line off the screen, for others to write there. The next step brings it back."""
        with self._lock:
            self._live.stop()

    @property
    def running(self) -> str:
        """The live line: the steps that run now."""
        return " · ".join(list(self._running.values())[:4])

    def _follow(self, event: events.Event) -> None:
        from rich.text import Text

        if isinstance(event, events.RunStarted):
            self._width = width_of(event)
        elif isinstance(event, events.StepStarted):
            self._running[event.instance or event.host, event.step] = f"{event.step} {event.instance or event.host}"
        elif isinstance(event, events.StepFinished):
            self._running.pop((event.instance or event.host, event.step), None)
        elif isinstance(event, events.RunFinished):
            self._running.clear()
        if self._running:
            self._spinner.update(text=Text(self.running))
            self._live.start()
        else:
            self._live.stop()

    @staticmethod
    def _style(event: events.Event) -> str:
        match event:
            case events.RunStarted() | events.WaveStarted():
                return "bold"
            case events.StepFinished(ok=False) | events.CheckFinished():
                return "red"
            case events.StepFinished():
                return "green"
            case events.Output():
                return "dim"
            case events.Warned():
                return "yellow"
            case events.RunFinished(exit_status=0):
                return "bold green"
            case events.RunFinished():
                return "bold red"
        return ""


def listener(output: Format, out: TextIO | None = None) -> events.Listener:
    """Return the listener for `--output`. With `out` events go there as lines, and nothing is drawn on the terminal."""
    if output == "json":
        return JsonLines(out)
    return Plain(out) if output == "plain" or out else Rich()
