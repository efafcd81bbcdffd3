"""The names of the app, asked through the balancers as users ask: the last thing that a push has to pass."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin

from deployer.agent.model.messages import requests as wire
from deployer.errors import ChecksError, DeployError
from deployer.rollout.run.run import Run
from deployer.rollout.traffic.entrances import entrances
from deployer.rollout.traffic.maintenance_page import closed

WAIT_S = 5.0
"""For how long a name that gets no answer, or a server error, is asked again."""

_STEP = "domains"


def require_domains(run: Run) -> None:
    """Asks every balancer for each of `domains`, with TLS where it terminates TLS. No DNS is needed.

    ChecksError for a name that users get 400 or a server error for, a redirect to itself, or no answer without TLS.
    Nothing is asked where deploy does not configure the balancer, where users get the page of the maintenance mode, nor
    for wildcards.
    """
    for error in _unserved(run):
        raise error


def warn_of_domains(run: Run) -> None:
    """As `require_domains`, with a warning for each name: an earlier release may not know a name that is newer."""
    try:
        errors: list[DeployError] = [*_unserved(run)]
    except DeployError as failure:  # of the host: whoever goes back is not held up by a look at the result
        errors = [failure]
    for error in errors:
        why = f": {error.cause}" if error.cause else ""
        run.warn(f"{error.message}{why}", host=error.host or "", hint=error.hint or "")


def _unserved(run: Run) -> list[ChecksError]:
    """The error of every name at every balancer that does not serve it."""
    names = [name for name in run.topology.settings.domains if "*" not in name]
    places = {host: place for host, place in entrances(run.topology).items() if host in run.balancers}
    if not names or not places:
        return []
    shut = closed(run)
    places = {host: place for host, place in places.items() if host not in shut}
    if not places:
        return []
    with run.step(_STEP) as note:
        answers = run.run_on_hosts(
            list(places),
            wire.DOMAINS,
            lambda host: wire.RequestDomains(
                site=run.site(host),
                address=places[host].address,
                port=places[host].port,
                tls=places[host].tls,
                names=names,
                path=run.topology.settings.health.public_path,
                wait=WAIT_S,
            ),
            step=_STEP,
        )
        note.detail = ", ".join(dict.fromkeys(_describe(answer["names"]) for answer in answers.values()))
    judged = [
        _judge(run, host, name, response)
        for host, answer in answers.items()
        for name, response in answer["names"].items()
    ]
    return [error for error in judged if error]


def _judge(run: Run, host: str, name: str, answer: wire.DomainAnswer) -> ChecksError | None:
    topology, status = run.topology, answer["status"]
    secure = topology.settings.tls not in (None, "off")
    url = f"{'https' if secure else 'http'}://{name}{topology.settings.health.public_path}"
    if status is None and secure:
        # A certificate may still be on its way: what serves is behind it.
        run.warn(f"{url} cannot be requested: {answer['why']}", host=host)
        return None
    location = answer["location"]
    loops = status is not None and 300 <= status < 400 and bool(location) and urljoin(url, location) == url
    if status is not None and status != 400 and status < 500 and not loops:
        return None
    cause = f"{url} does not answer: {answer['why']}" if status is None else f"{url} answers {status}"
    return ChecksError(
        f"users of {name} are not served",
        host=host,
        step=_STEP,
        cause=f"{cause}, a redirect to itself" if loops else cause,
        hint=_hint(topology.env, name, status, loops=loops),
        code="domain_not_served",
    )


def _hint(env: str, name: str, status: int | None, *, loops: bool) -> str:
    other = "or set health.public_path to a path that answers"
    if loops:
        return (
            "the app does not see that users come with HTTPS, and redirects them to it: with Django, set "
            f'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https"), {other}'
        )
    if status == 400:
        return f"with Django, add {name!r} to ALLOWED_HOSTS (DisallowedHost), or take it out of domains:, {other}"
    return f"mend what the app answers there, {other}; then type deploy push {env}"


def _describe(names: Mapping[str, wire.DomainAnswer]) -> str:
    return ", ".join(f"{name} answers {response['status'] or 'nothing'}" for name, response in names.items())
