"""One supervised program, driven by its verbs. What a verb prints is believed only for the process id and the log."""

from __future__ import annotations

import re
import threading

from deployer.agent.model.supervision import Argv, Instance, Process, Schedule
from deployer.agent.system import process_runner

_SHORT = 15.0  # seconds for verbs that only ask or note something
_PID = re.compile(r"(?:MainPID=)?(\d+)\Z")
_NOTHING = process_runner.Finished(0, None, "", "", False, 0.0)


class Unit:
    """The unit of an instance, process or schedule. No method raises when a supervisor refuses; the answer says so."""

    def __init__(self, supervised: Instance | Process | Schedule) -> None:
        self._graceful = supervised.graceful
        self._verbs = supervised.verbs

    @property
    def name(self) -> str:
        """`shop@8000.service`, `shop-8000`."""
        return self._verbs.unit

    @property
    def stop_bound(self) -> float:
        """Seconds until a stop must be over: the supervisor kills after `graceful + 10`."""
        return self._graceful + 15.0

    def main(self) -> int:
        """The main process id, 0 when it is not running or the supervisor does not answer."""
        match = _PID.match(self._run(self._verbs.pid, _SHORT).stdout.strip())
        return int(match.group(1)) if match else 0

    def stop(self) -> process_runner.Finished:
        """Asks for the stop and waits for the supervisor's answer, within `stop_bound`."""
        return self._run(self._verbs.stop, self.stop_bound)

    def start(self, bound: float, cancelled: threading.Event | None = None) -> process_runner.Finished:
        """Asks for the start and waits at most `bound` seconds for the supervisor's answer."""
        return self._run(self._verbs.start, bound, cancelled)

    def restart(self, bound: float, cancelled: threading.Event | None = None) -> process_runner.Finished:
        """Stop and start as one job; waits at most `bound` seconds for the supervisor's answer."""
        return self._run(self._verbs.restart, bound, cancelled)

    def holds_port(self) -> bool:
        """Whether the supervisor itself has the port open, for this unit."""
        return "active" in self._socket_state()

    def open_port(self) -> process_runner.Finished:
        """The supervisor opens the port, now and at boot. The program must be down."""
        return self._run(self._verbs.socket_open, _SHORT)

    def close_port(self) -> process_runner.Finished:
        """The supervisor no longer has the port open, nor opens it at boot; nothing to do where it never did.

        The program goes on with the socket that it was given. Before a stop, since a request would start it again.
        """
        if not {"active", "enabled", "failed"}.intersection(self._socket_state()):
            return _NOTHING
        return self._run(self._verbs.socket_close, _SHORT)

    def reset(self) -> None:
        """Clears failure counters; there may be none."""
        self._run(self._verbs.reset, _SHORT)

    def enable(self) -> process_runner.Finished:
        """From now on it starts at boot."""
        return self._run(self._verbs.enable, _SHORT)

    def disable(self) -> process_runner.Finished:
        """No longer starts at boot."""
        return self._run(self._verbs.disable, _SHORT)

    def state(self) -> dict[str, str]:
        """What the supervisor tells of a schedule; empty when it does not answer."""
        pairs = (line.partition("=") for line in self._run(self._verbs.state, _SHORT).stdout.splitlines())
        return {key: value for key, separator, value in pairs if separator}

    def log(self, lines: int) -> list[str]:
        """The last lines of its log, oldest first; empty when there is none."""
        words = tuple(word.replace("{lines}", str(lines)) for word in self._verbs.log)
        return process_runner.tail(self._run(words, _SHORT).stdout, lines)

    def log_since(self, before: list[str], lines: int) -> list[str]:
        """The last lines that came after `before` (an earlier `log`); simply the last ones when that cannot be told."""
        log_lines = self.log(4 * lines)
        for at in range(len(log_lines), 0, -1):
            shared = min(at, len(before))
            if shared and log_lines[at - shared : at] == before[-shared:]:
                return log_lines[at:][-lines:] or log_lines[-lines:]
        return log_lines[-lines:]

    def _socket_state(self) -> list[str]:
        return self._run(self._verbs.socket_state, _SHORT).stdout.split()

    def _run(self, argv: Argv, bound: float, cancelled: threading.Event | None = None) -> process_runner.Finished:
        return process_runner.run(argv, timeout=bound, cancelled=cancelled) if argv else _NOTHING
