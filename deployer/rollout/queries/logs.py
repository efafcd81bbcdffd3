"""`deploy logs`: the lines of all instances, processes and schedules, merged by time."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from deployer.agent.model.supervision import USER_AGENT, USUAL_REFUSALS
from deployer.errors import UsageError
from deployer.events import Output
from deployer.plan.topology import Topology, trusted
from deployer.remote.fleet import together
from deployer.rollout.run.connect import kill_with, open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run
from deployer.rollout.steps.log_reader import Answer, Backlog, LogLine, LogReader, sources

POLL_S = 1.0
LAG_S = 5.0
"""Seconds that the last line read may be old before `logs -f` counts as behind."""
LAG_BYTES = 8 << 20
"""Bytes of a file that may be unread before `logs -f` counts as behind."""
LAG_REPORT_S = 10.0
SEARCHED = 5000
USUAL = 50

Filter = Callable[[str], bool]
"""Whether a line is shown."""


def logs(
    project: Project,
    invocation: Invocation,
    *,
    lines: int | None,
    since: float | None = None,
    grep: str | None,
    follow: bool,
    everything: bool = False,
    process: str | None = None,
) -> None:
    """Emits the last `lines` lines of every instance, process and schedule, of those that match `grep`; 50 by default.

    All logs are merged by time: the journal's time of each line, or the time of the last change of a log that is a
    file. `since` (seconds): only what was written within so long, 5,000 lines by default; AgentError `no_times` where
    logs do not tell.

    With `follow` also every line that comes after them, until Ctrl-C; a host that drops out does not end the others.
    `process` names a process or schedule whose lines alone are wanted; UsageError if there is none. A pattern is
    searched for in the last 5,000 lines. Health checks that succeeded are left out where there is no pattern, unless
    `everything` is wanted.

    Raises UnreachableError at the end for hosts that did not answer, after the lines of the others.
    """
    settings = project.topology.settings
    known = {**settings.processes, **settings.schedules}
    if process is not None and process not in known:
        raise UsageError(f"unknown process or schedule {process!r}", hint=f"there are: {', '.join(known) or 'none'}")
    wanted = lines or (SEARCHED if since else USUAL)
    keeps = line_filter(project.topology, grep, everything=everything)
    searched = max(wanted, SEARCHED) if keeps else wanted
    with open_run(project, invocation, partial=True) as run:
        for host, error in run.absent.items() if follow else ():  # the end, where it is the error, may be far away
            run.warn(f"its logs are not followed: {error.message}", host=host)
        webs = {web.name: sources(run.topology, web, process) for web in run.topology.web if web.name in run.web}
        reader = LogReader(run, webs, lines=searched, since=since)
        if follow:
            kill_with(invocation.stop, run.fleet)
        try:
            view = View(run, keeps, invocation.stop)
            view.show_last(reader.read_last(partial=not follow), wanted)
            while follow and reader.hosts and not invocation.stop.is_set():
                _follow_once(run, reader, view, invocation.stop)
            view.finish()
        finally:
            reader.close()
        if reader.dropped and not (follow and invocation.stop.is_set()):
            raise together(reader.dropped)


def _follow_once(run: Run, reader: LogReader, view: View, stop: threading.Event) -> None:
    """One round: shows what is new, says which hosts dropped out, and waits unless there is more to read."""
    dropped = set(reader.dropped)
    answers = reader.poll()
    view.show(answers)
    for host, error in reader.dropped.items():
        if host not in dropped and not stop.is_set():
            run.warn(f"its logs are no longer followed: {error.message}", host=host)
    if not any(answer.more for answer in answers):
        stop.wait(POLL_S)


def _is_behind(backlog: Backlog) -> bool:
    return backlog.age_s >= LAG_S or backlog.unread >= LAG_BYTES


def _distance(backlog: Backlog) -> str:
    """`12 s`, or `31 MB` for a file, whose lines have no times."""
    return f"{backlog.unread / 1e6:.0f} MB" if backlog.unread else f"{backlog.age_s:.0f} s"


class View:
    """Shows lines of many hosts in the order of their times.

    The hosts are read one after another within a moment. So lines newer than the earliest reading wait for the next
    round, in which older lines of other hosts may come.
    """

    def __init__(self, run: Run, keeps: Filter | None, stop: threading.Event | None = None) -> None:
        self._run = run
        self._stop = stop or threading.Event()
        self._keeps = keeps
        self._waiting: list[LogLine] = []
        self._lagging: dict[str, float] = {}  # label of a log → when its lag was last reported

    def show_last(self, answers: Sequence[Answer], count: int) -> None:
        """The last `count` lines of each log."""
        self._warn_of_gaps(answers)
        logs: dict[tuple[str, str], list[LogLine]] = {}
        for line in self._kept(answers):
            logs.setdefault((line.host, line.log), []).append(line)
        self._emit(line for lines in logs.values() for line in lines[-count:])

    def show(self, answers: Sequence[Answer]) -> None:
        """All lines of one round, but for those that wait for the next."""
        self._warn_of_gaps(answers)
        horizon = min((answer.now for answer in answers), default=0.0)
        lines = self._kept(answers)
        self._emit([*self._waiting, *(line for line in lines if line.ts <= horizon)])
        self._waiting = [line for line in lines if line.ts > horizon]
        self._report_lag(answers)

    def finish(self) -> None:
        """The lines that still wait."""
        self._emit(self._waiting)
        self._waiting = []

    def _warn_of_gaps(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            for log in answer.gaps:
                why = "lines may be missing: the log was removed or rotated before they were read"
                self._run.warn(why, host=self._label(answer.host, log))

    def _report_lag(self, answers: Sequence[Answer]) -> None:
        """Says how far each log is behind: when it begins, every `LAG_REPORT_S`, and when all lines were shown."""
        now = time.monotonic()
        for answer in answers:
            for log, backlog in answer.more.items():
                label = self._label(answer.host, log)
                if _is_behind(backlog) and now - self._lagging.get(label, -math.inf) >= LAG_REPORT_S:
                    hint = "" if label in self._lagging else "deploy logs {env} -f --grep ERROR shows fewer"
                    self._lagging[label] = now
                    why = f"{_distance(backlog)} behind: lines come faster than they are shown"
                    self._run.warn(why, host=label, hint=hint)
            for label in [label for label in self._lagging if label.rpartition(":")[0] == answer.host]:
                if label not in {self._label(answer.host, log) for log in answer.more}:
                    del self._lagging[label]
                    self._run.warn("no longer behind: all lines were shown", host=label)

    def _kept(self, answers: Sequence[Answer]) -> list[LogLine]:
        keeps = self._keeps
        return [line for answer in answers for line in answer.lines if keeps is None or keeps(line.text)]

    def _emit(self, lines: Iterable[LogLine]) -> None:
        for line in sorted(lines, key=lambda line: line.ts):
            if self._stop.is_set():  # nobody waits for the rest of a flood
                return
            self._run.bus.emit(Output(line.text, host=self._label(line.host, line.log)))

    def _label(self, host: str, log: str) -> str:
        """`web1:0` for the log of a slot, `web1:worker@1` for that of a process."""
        name = str(self._run.topology.web_host(host).index_of(int(log))) if log.isdigit() else log
        return f"{host}:{name}"


def line_filter(topology: Topology, grep: str | None, *, everything: bool) -> Filter | None:
    """Which lines are shown; None for all of them. UsageError for a pattern that is not a regular expression."""
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise UsageError(f"{grep!r} is not a valid regular expression: {error}") from None
    if pattern is not None:
        return lambda line: pattern.search(line) is not None
    if everything:
        return None
    checks = health_checks(topology)
    return lambda line: checks.search(line) is None


def health_checks(topology: Topology) -> re.Pattern[str]:
    """What lines of an access log look like in which a balancer or an agent was told that all is well.

    They ask for the health path, were answered well, and either name themselves (`USER_AGENT`), or come from the host
    itself or a balancer. Users ask for `/` too, and some servers log the balancer as their address: so at `/` an
    address counts only in uvicorn's lines, behind a balancer of deploy's own, which says whom a request is from.
    """
    path = re.escape(topology.health_path)
    refusals = "".join(f"|{status}" for status in USUAL_REFUSALS) if topology.health_path == "/" else ""
    good = f"(?:[123][0-9]{{2}}{refusals})"
    request = rf'"(?:GET|HEAD) {path} HTTP/[0-9.]+" {good}\b'
    ways = [rf'{request}.*"{USER_AGENT}', rf'"path": "{path}".*"status": {good}\b.*"agent": "{USER_AGENT}']
    own = [web.own.address for web in topology.everywhere]
    balancers = trusted(topology.balancers, by_ipv6=any(":" in address for address in own))
    addresses = "|".join(re.escape(address) for address in (*balancers, *own))
    says_whom = topology.configures_pools
    if topology.health_path != "/":
        ways.append(rf"(?<![0-9.])(?:{addresses})(?::[0-9]+)? .*{request}")
    if topology.health_path != "/" or says_whom:
        # uvicorn gives port 0 to a user whom a balancer told it of.
        ways.append(rf"(?<![0-9.])(?:{addresses}):[1-9][0-9]* - {request}")
        fields = rf'"method": "(?:GET|HEAD)", "path": "{path}", "query": "", "status": {good}, "port"'
        ways.append(rf'"client": "(?:{addresses})", {fields}')
    return re.compile("|".join(f"(?:{way})" for way in ways))
