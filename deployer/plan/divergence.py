"""Which instances serve another release than the others, and where another one is current: in words."""

from __future__ import annotations

from collections.abc import Set

from deployer.plan.changes import prevailing_release
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology, WebHost


def releases_served(topology: Topology, facts: Facts, away: Set[str] = frozenset()) -> dict[str | None, list[str]]:
    """Return release → the instances that serve it (`web1:0`); None: those that serve nothing.

    Left out are the hosts of `away`, and those that the app was taken off.
    """
    instances_by_release: dict[str | None, list[str]] = {}
    for web in _present_hosts(topology, facts, away):
        for index in range(len(web.ports)):
            serving = facts[web.name].serving.get(index)
            instances_by_release.setdefault(serving.release if serving else None, []).append(f"{web.name}:{index}")
    return instances_by_release


def apart(topology: Topology, facts: Facts, away: Set[str] = frozenset(), *, down: bool = True) -> str:
    """`web1:0 serves B, the others serve A`; empty where all serve one release, which is current on all hosts.

    Where all serve one: `only B serves, but A is current on web1`. Hosts of `away` are left out, and without
    `down` what serves nothing too.
    """
    usual = prevailing_release(facts, topology)
    groups = [(release, names) for release, names in releases_served(topology, facts, away).items() if release or down]
    groups.sort(key=lambda group: (len(group[1]), group[0] == usual))
    if len(groups) > 1:
        return ", ".join([*(_describe(*group) for group in groups[:-1]), _describe_largest(*groups[-1])])
    return _other_current(topology, facts, away, groups[0][0], down=down) if groups else ""


def _other_current(topology: Topology, facts: Facts, away: Set[str], release: str | None, *, down: bool) -> str:
    hosts: dict[str | None, list[str]] = {}
    for web in _present_hosts(topology, facts, away):
        current = facts[web.name].current
        if current != release and (current or down):
            hosts.setdefault(current, []).append(web.name)
    others = ", ".join(f"{current or 'nothing'} is current on {', '.join(names)}" for current, names in hosts.items())
    return f"{f'only {release}' if release else 'nothing'} serves, but {others}" if others else ""


def _describe(release: str | None, names: list[str]) -> str:
    return f"{', '.join(names)} {'serve' if names[1:] else 'serves'} {release or 'nothing'}"


def _describe_largest(release: str | None, names: list[str]) -> str:
    """Return the largest group: by its name where that is one instance."""
    return f"the others serve {release or 'nothing'}" if names[1:] else _describe(release, names)


def _present_hosts(topology: Topology, facts: Facts, away: Set[str]) -> list[WebHost]:
    return [web for web in topology.web if web.name not in away and not facts[web.name].removed]
