"""Reads the logs of a run's hosts page by page, each from a cursor, so that no line is lost and none comes twice."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

from deployer.agent.model.messages import logs as wire
from deployer.agent.model.supervision import Verbs
from deployer.errors import DeployError
from deployer.plan.topology import Topology, WebHost
from deployer.remote.errors import AgentError
from deployer.remote.messages.responses import UnexpectedResponse
from deployer.rollout.run.parallel import map_hosts
from deployer.rollout.run.run import Run

PATIENCE_S = 2.0
"""Seconds that a host may take to answer before the lines of the others are shown without it."""

_STOP_CHECK_S = 0.2


class LogLine(NamedTuple):
    """One line of one log. `ts` is seconds since the epoch by the host's clock, and never falls within a log."""

    ts: float
    host: str
    log: str
    text: str


class Backlog(NamedTuple):
    """How far reading is behind writing: seconds since the last line that was read, and unread bytes of a file."""

    age_s: float
    unread: int


@dataclass(frozen=True)
class Answer:
    """What one host has: `lines`, the logs with `more`, those with a gap, and the host's time when it read."""

    host: str
    lines: tuple[LogLine, ...]
    more: Mapping[str, Backlog]
    gaps: tuple[str, ...]
    now: float


def sources(topology: Topology, web: WebHost, process: str | None = None) -> dict[str, wire.LogSource]:
    """The logs of one host by name: an instance's port, `worker@1`, `nightly`. `process` names the only one wanted."""
    logs: dict[str, wire.LogSource] = {}
    for index in range(len(web.ports)) if process is None else ():
        for port in web.slots(index):
            logs[str(port)] = {
                **_source(topology.instance(web, index, port).verbs),
                "port": port,
                "index": index,
            }
    for name, number in topology.processes_of(web):
        if process in (None, name):
            one = topology.process(web, name, number)
            logs[one.label] = _source(one.verbs)
    for name in topology.schedules_of(web):
        if process in (None, name):
            logs[name] = _source(topology.schedule(web, name).verbs)
    return logs


def last_words(run: Run, host: str, verbs: Verbs, lines: int = 20) -> list[str]:
    """The last lines of one log; none when they cannot be had."""
    request = wire.ReadLogs(site=run.site(host), logs={"it": _source(verbs)}, lines=lines, partial=True)
    try:
        answer = run.call(host, wire.READ, request, step="logs")
    except DeployError:
        return []
    return [text for _, text in answer["logs"]["it"]["lines"]]


class LogReader:
    """The logs of all hosts. Each `read` goes on where the one before ended.

    `dropped` are the hosts that stopped answering, each with the reason.
    """

    def __init__(
        self, run: Run, logs: Mapping[str, Mapping[str, wire.LogSource]], *, lines: int, since: float | None
    ) -> None:
        self._run = run
        self._logs = {host: dict(named) for host, named in logs.items() if named}
        self._lines = lines
        self._seconds = math.ceil(since or 0)
        self._cursors: dict[tuple[str, str], Any] = {}
        self._newest: dict[tuple[str, str], float] = {}
        self._pending: dict[str, Future[Answer]] = {}
        self._workers = ThreadPoolExecutor(max_workers=max(1, len(self._logs)), thread_name_prefix="logs")
        self.dropped: dict[str, DeployError] = {}

    @property
    def hosts(self) -> list[str]:
        """The hosts that still answer."""
        return [host for host in self._logs if host not in self.dropped]

    def read_last(self, *, partial: bool) -> list[Answer]:
        """The last lines of every log. `partial`: also a last line whose newline is still missing.

        Raises AgentError for the first host that refuses; one whose session is lost is `dropped`.
        """
        done, failed = map_hosts(self.hosts, lambda host: self._read_to_the_end(host, partial))
        for error in failed.values():
            if isinstance(error, AgentError):
                raise error
        self.dropped.update(failed)
        return list(done.values())

    def poll(self) -> list[Answer]:
        """A page of whatever is new, from the hosts that answer in time. A slow host answers a later `poll`."""
        for host in self.hosts:
            if host not in self._pending:
                self._pending[host] = self._workers.submit(self.read, host, partial=False)
        return self._collect(PATIENCE_S)

    def read(self, host: str, *, partial: bool) -> Answer:
        """The next page of all logs of one host. Raises DeployError."""
        named = self._logs[host]
        wanted: dict[str, wire.LogSource] = {
            name: {**source, "cursor": self._cursors.get((host, name))} for name, source in named.items()
        }
        request = wire.ReadLogs(
            site=self._run.site(host), logs=wanted, lines=self._lines, seconds=self._seconds, partial=partial
        )
        answer = self._run.call(host, wire.READ, request, step="logs")
        lines: list[LogLine] = []
        for name in wanted:
            page = answer["logs"][name]
            if page["more"] and page["cursor"] == wanted[name]["cursor"]:  # the same page would be read for ever
                raise UnexpectedResponse(host, "logs.read", f"logs.{name} has more lines, and the cursor does not move")
            self._cursors[host, name] = page["cursor"]
            lines += self._in_order(host, name, page["lines"])
        gaps = tuple(name for name in wanted if answer["logs"][name]["gap"])
        now, pages = answer["now"], answer["logs"]
        more = {
            name: Backlog(now - self._newest.get((host, name), now), pages[name].get("unread", 0))
            for name in wanted
            if pages[name]["more"]
        }
        return Answer(host, tuple(lines), more, gaps, now)

    def close(self) -> None:
        """Asks nobody any more. A host that has not answered ends with its session."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _read_to_the_end(self, host: str, partial: bool) -> Answer:
        """All pages of the last lines of one host. What is written meanwhile ends it no later."""
        first = answer = self.read(host, partial=partial)
        lines, gaps = list(first.lines), set(first.gaps)
        while any(self._newest.get((host, name), 0.0) <= first.now for name in answer.more):
            answer = self.read(host, partial=partial)
            lines += answer.lines
            gaps |= set(answer.gaps)
        return Answer(host, tuple(lines), answer.more, tuple(sorted(gaps)), first.now)

    def _collect(self, timeout: float) -> list[Answer]:
        deadline = time.monotonic() + timeout
        while not self._run.stop.is_set() and (left := deadline - time.monotonic()) > 0:
            if not wait(self._pending.values(), timeout=min(left, _STOP_CHECK_S)).not_done:
                break
        answers = []
        for host in [host for host, future in self._pending.items() if future.done()]:
            try:
                answers.append(self._pending.pop(host).result())
            except DeployError as error:
                self.dropped[host] = error
        return answers

    def _in_order(self, host: str, name: str, lines: Iterable[tuple[float, str]]) -> list[LogLine]:
        """The lines of one log, whose times never fall: a clock that was set back must not turn its lines around."""
        newest = self._newest.get((host, name), 0.0)
        ordered = []
        for ts, text in lines:
            newest = max(newest, float(ts))
            ordered.append(LogLine(newest, host, name, text))
        self._newest[host, name] = newest
        return ordered


def _source(verbs: Verbs) -> wire.LogSource:
    return {"journal": verbs.journal, "file": verbs.log_file}
