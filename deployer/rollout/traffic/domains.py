"""The names of the app, asked through the balancers as users ask: the last thing that a push has to pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.balancers.values import Listen
from deployer.errors import ChecksError
from deployer.plan.topology import BalancerHost, Topology
from deployer.rollout.run.run import Run
from deployer.rollout.traffic.maintenance_page import closed

WAIT_S = 5.0
"""For how long a name that gets no answer, or a server error, is asked again."""

_STEP = "domains"


def require_domains(run: Run) -> None:
    """Asks every balancer for each of `domains`, with TLS where it terminates TLS. No DNS is needed.

    ChecksError for a name that users get 400 or a server error for, or no answer without TLS. Nothing is asked where
    deploy does not configure the balancer, where users get the page of the maintenance mode, nor for wildcards.
    """
    names = [name for name in run.topology.settings.domains if "*" not in name]
    if not names or not _own_balancers(run.topology):
        return
    shut = closed(run)
    balancers = {
        balancer.name: balancer
        for balancer in run.topology.balancers
        if balancer.name in run.balancers and balancer.name not in shut
    }
    if not balancers:
        return
    with run.step(_STEP) as note:
        answers = run.run_on_hosts(
            list(balancers),
            "domains.request",
            lambda host: {**_entrance(run.topology, balancers[host]), "names": names},
            step=_STEP,
        )
        for host, answer in answers.items():
            for name, response in answer["names"].items():
                _judge(run, host, name, response)
        note.detail = ", ".join(dict.fromkeys(_describe(answer["names"]) for answer in answers.values()))


def _own_balancers(topology: Topology) -> bool:
    return bool(topology.balancers) and topology.settings.balancer.manage and topology.kind != "command"


def _entrance(topology: Topology, balancer: BalancerHost) -> dict[str, Any]:
    """Where the balancer's own host reaches what users do."""
    pool = topology.pool(balancer)
    listen = Listen.parse(pool.https.listen if pool.https else pool.listen)
    path = topology.settings.health.public_path
    return {
        "address": listen.reached_at,
        "port": listen.port,
        "tls": pool.https is not None,
        "path": path,
        "wait": WAIT_S,
    }


def _judge(run: Run, host: str, name: str, answer: Mapping[str, Any]) -> None:
    topology, status = run.topology, answer["status"]
    secure = topology.settings.tls not in (None, "off")
    url = f"{'https' if secure else 'http'}://{name}{topology.settings.health.public_path}"
    if status is None and secure:
        # A certificate may still be on its way: what serves is behind it.
        run.warn(f"{url} cannot be requested: {answer['why']}", host=host)
        return
    if status is not None and status != 400 and status < 500:
        return
    raise ChecksError(
        f"users of {name} are not served",
        host=host,
        step=_STEP,
        cause=f"{url} answers {status}" if status is not None else f"{url} does not answer: {answer['why']}",
        hint=_hint(name, status),
        code="domain_not_served",
    )


def _hint(name: str, status: int | None) -> str:
    other = "or set health.public_path to a path that answers"
    if status == 400:
        return f"with Django, add {name!r} to ALLOWED_HOSTS (DisallowedHost), or take it out of domains:, {other}"
    return f"mend what the app answers there, {other}; then type deploy push {{env}}"


def _describe(names: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} answers {response['status'] or 'nothing'}" for name, response in names.items())
