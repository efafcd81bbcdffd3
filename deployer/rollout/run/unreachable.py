"""Hosts that do not answer when a run begins: may it go on without them, and how a person says that it may."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from deployer.errors import DeployError, UntrustedHostError
from deployer.plan.rolling.waves import size_of
from deployer.plan.topology import Topology
from deployer.remote.fleet import together
from deployer.rollout.run.run import Run

SILENT = ("timeout", "refused", "closed", "unreachable")
"""Codes of connections that fail because a host is away. Whatever else is wrong is a person's to mend first."""


def unreachable(topology: Topology, failures: Mapping[str, DeployError], command: str) -> DeployError:
    """The error for hosts that cannot be reached, with the ways to go on without them as its hint.

    `command` is what the person typed. A balancer and the host of a push's release hook cannot be left out.
    """
    error, env = together(failures), topology.env
    webs = {web.name: web.own.instances for web in topology.web}
    away = all(failure.code in SILENT and not isinstance(failure, UntrustedHostError) for failure in failures.values())
    hooked = command == "push" and topology.settings.hooks.release is not None
    needed = hooked and topology.everywhere[0].name in failures
    own = "" if (error.hint or "").startswith("deploy doctor") else error.hint
    if len(failures) >= len(topology.hosts) or not webs.keys() > failures.keys() or needed:
        error.hint = own or f"ssh to {next(iter(failures))} shows why it cannot be reached"
        return error
    excluded = f"'!{next(iter(failures))}'" if len(failures) == 1 else _all_but(failures)
    again = "push" if command in ("doctor", "freeze", "unfreeze") else command
    ways = [f"deploy {again} {env} -l {excluded} goes on without {'it' if len(failures) == 1 else 'them'}"]
    if again in ("push", "rollback", "reload") and away:
        count = sum(webs[host] for host in failures)
        ways.append(f"rolling.max_failures: {count} in deploy.yaml lets every run do so")
    error.hint = "; ".join([*([own] if own else []), *ways])
    return error


def _all_but(hosts: Iterable[str]) -> str:
    return "'all:" + ":".join(f"!{host}" for host in hosts) + "'"


def without(topology: Topology, failures: Mapping[str, DeployError], command: str) -> Topology:
    """The topology in which the web hosts of `failures` are `absent`.

    Raises their error (exit 3) where the run cannot do without them: more instances than `max_failures`, a balancer,
    the host of a push's release hook, all there are, or a host that answers and is wrong in some other way.
    """
    if not failures:
        return topology
    absent = tuple(web for web in topology.web if web.name in failures)
    rest = tuple(web for web in topology.web if web.name not in failures)
    most = size_of(topology.settings.rolling.max_failures, topology.instances)
    away = all(error.code in SILENT and not isinstance(error, UntrustedHostError) for error in failures.values())
    # A host that has the app's processes alone is in no budget of instances.
    counted = [web.own.instances for web in absent]
    if not away or not rest or len(absent) < len(failures) or sum(counted) > most or not all(counted):
        raise unreachable(topology, failures, command)
    if command == "push" and topology.settings.hooks.release is not None and topology.everywhere[0] in absent:
        error = unreachable(topology, failures, command)
        error.cause = "; ".join(filter(None, (error.cause, "the release hook runs there, and keeps its outcome there")))
        raise error
    return replace(topology, web=rest, absent=absent)


def report_unreachable(run: Run) -> None:
    """Says who is left out, and why."""
    for name, error in run.absent.items():
        run.record.host(name, "unreachable")
        run.warn(
            f"left out, within rolling.max_failures: {error.message}",
            host=name,
            hint=error.hint or "",
        )
