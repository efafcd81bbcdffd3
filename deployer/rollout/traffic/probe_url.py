"""The URL of a run's probe is asked before anything changes: one that answers nobody would measure nothing."""

from __future__ import annotations

import fnmatch
import time
import urllib.parse
from dataclasses import replace

from deployer import probe
from deployer.errors import NotReadyError
from deployer.plan.model import Plan
from deployer.plan.topology import Topology
from deployer.probe import Answer
from deployer.rollout.run.run import Run
from deployer.rollout.traffic.maintenance_page import closed

_PATIENCE = 3.0
_PAUSE = 0.3


def require_answer(run: Run, plan: Plan) -> None:
    """Returns once the URL of `rolling.probe` has answered below 400, if the run has a probe and changes anything.

    Nothing is asked where users get the page of the maintenance mode, nor where nobody serves yet.

    Raises UsageError for a URL that is none; NotReadyError when it does not answer so within a few seconds.
    """
    wanted = run.topology.settings.rolling.probe
    if wanted is None or plan.empty:
        return
    probe.target_of(wanted.url)
    if not serves(plan) or closed(run):
        return
    with run.step("probe", detail=wanted.url) as note:
        answer = wait_for_answer(run, wanted.url)
        if not answer.good:
            raise _refused(wanted.url, answer, run.topology)
        note.detail = f"{wanted.url} answers {answer.status}"
    secure = _as(wanted.url, scheme="https")
    if wanted.url.startswith("http:") and answer.leads_to.startswith(secure):
        run.warn(
            f"the probe's URL leads to {answer.leads_to}, where it does not follow: it may hear the balancer alone",
            hint=f"--probe {secure}",
        )


def answered_or_left_out(run: Run, plan: Plan) -> None:
    """`require_answer` for who goes back from what may be broken: where the URL does not answer, without the probe."""
    try:
        require_answer(run, plan)
    except NotReadyError as error:
        run.warn(f"{error.message}, so the probe is left out")
        settings = run.topology.settings
        rolling = settings.rolling.model_copy(update={"probe": None})
        run.topology = replace(run.topology, settings=settings.model_copy(update={"rolling": rolling}))


def serves(plan: Plan) -> bool:
    """Whether any instance of the plan serves before the run."""
    return any(step.before for step in (*plan.steps, *plan.kept))


def wait_for_answer(run: Run, url: str) -> Answer:
    """The first good answer, or the last of those that come within a few seconds. InterruptedRun if a person stops."""
    ends = time.monotonic() + _PATIENCE
    while True:
        answer = probe.ask(url)
        if answer.good or time.monotonic() >= ends:
            return answer
        run.stop.wait(_PAUSE)
        run.check_interrupt()


def describe_answer(url: str, answer: Answer) -> str:
    """The answer as a line."""
    return f"{url} answers {answer.status}" if answer.status else f"{url} does not answer"


def _refused(url: str, answer: Answer, topology: Topology) -> NotReadyError:
    return NotReadyError(
        f"the probe's URL {describe_answer(url, answer)}; it would measure nothing",
        step="probe",
        cause=answer.why or _why(url, topology) or None,
        hint=f"{_better(url, answer, topology)}; --probe off goes without one",
        code="probe_url",
    )


def _why(url: str, topology: Topology) -> str:
    """The Host that the probe sends is the URL's: the balancer may have nothing for it."""
    name, domains = _name(url), topology.settings.domains
    if not domains or any(fnmatch.fnmatch(name, domain.lower()) for domain in domains):
        return ""
    return f"its Host is {name}, and the balancer serves {', '.join(domains)}"


def _better(url: str, answer: Answer, topology: Topology) -> str:
    """What to type: the same URL with a name that the balancer serves, if that is what is wrong."""
    if not answer.status:
        return "--probe takes a URL that this machine reaches"
    if not _why(url, topology):
        return "--probe takes a URL that answers users"
    return f"--probe {_as(url, name=topology.settings.domains[0].replace('*', 'www'))}, with a name that leads there"


def _as(url: str, *, scheme: str = "", name: str = "") -> str:
    """The URL with another scheme (and its own port) or another name."""
    parts = urllib.parse.urlsplit(url)
    if scheme:
        return parts._replace(scheme=scheme, netloc=_in_url(parts.hostname or "")).geturl()
    return parts._replace(netloc=f"{name}:{parts.port}" if parts.port else name).geturl()


def _in_url(host: str) -> str:
    """A host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _name(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or ""
