"""A `deploy push` that is watched while it runs, so that it can be killed, or put to sleep, at a chosen moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from support.project import Project


class Controller:
    """A running `deploy` command. `events` are its JSON lines so far."""

    def __init__(self, project: Project, *args: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.process = project.start(*args)
        self._heard = threading.Condition()
        self._ended = False
        self._said: list[str] = []
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_events, self._read_said)]
        for reader in self._readers:
            reader.start()

    @property
    def run(self) -> str:
        """The run's id; empty before it said anything."""
        return str(self.events[0]["run"]) if self.events else ""

    @property
    def release(self) -> str:
        """The release that the plan names."""
        return str(next(event for event in self.events if event["event"] == "plan.made")["plan"]["release"])

    @property
    def planned(self) -> list[str]:
        """The releases that plans named so far."""
        return [str(event["plan"]["release"]) for event in self.events if event["event"] == "plan.made"]

    @property
    def reached(self) -> str:
        """The last step that began, in words."""
        steps = [f"{one['step']} {one.get('instance', '')}" for one in self.events if one["event"] == "step.started"]
        return steps[-1].strip() if steps else "before any step"

    def until_events(self, count: int, within: float = 120.0) -> None:
        """Waits until it has told `count` events; returns early when it ends before that."""
        with self._heard:
            heard = self._heard.wait_for(lambda: self._ended or len(self.events) >= count, within)
            assert heard, f"not within {within:g} s: {count} events: {self.summary}"

    def until(self, event: str, step: str, count: int = 1, within: float = 90.0) -> None:
        """Waits for the event of that name and step, the `count`th; fails when the command ends without it."""
        ends = time.monotonic() + within
        with self._heard:
            while sum(one["event"] == event and one.get("step") == step for one in self.events) < count:
                assert not self._ended, f"it ended before {event} {step}: {self.summary}"
                left = ends - time.monotonic()
                assert left > 0, f"not within {within:g} s: {event} {step}: {self.summary}"
                self._heard.wait(left)

    def until_true(self, what: str, condition: Callable[[], object], within: float = 60.0) -> None:
        """Waits for a condition while the command runs; `what` names it in a failure."""
        ends = time.monotonic() + within
        while not condition():
            assert not self._ended, f"it ended before {what}: {self.summary}"
            assert time.monotonic() < ends, f"not within {within:g} s: {what}"
            time.sleep(0.005)

    def kill(self) -> float:
        """SIGKILL to its whole process group; the moment, on the monotonic clock."""
        os.killpg(self.process.pid, signal.SIGKILL)
        moment = time.monotonic()
        self.process.wait()
        self._join()
        return moment

    def sleep(self) -> float:
        """Stops it as a closed lid does; the moment, on the monotonic clock."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        return time.monotonic()

    def wake(self) -> None:
        """Lets it go on where it was."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def end(self, within: float = 60.0) -> dict[str, Any]:
        """Waits until it has ended by itself; `run.finished`."""
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end within {within:g} s: {self.summary}") from None
        self._join()
        assert self.events[-1]["event"] == "run.finished", self.summary
        return self.events[-1]

    def close(self) -> None:
        """Kills what is left of it."""
        if self.process.poll() is None:
            self.kill()

    @property
    def summary(self) -> str:
        """What a failing test shows."""
        return "\n".join([f"exit {self.process.poll()}", *map(json.dumps, self.events[-8:]), *self._said[-40:]])

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                with self._heard:
                    self.events.append(json.loads(line))
                    self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    def _read_said(self) -> None:
        assert self.process.stderr is not None
        self._said.extend(line.rstrip() for line in self.process.stderr)

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(10)
