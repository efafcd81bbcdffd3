"""Warnings about files in `shared/` that the app's user may not write, with the command that gives them."""

from __future__ import annotations

from collections.abc import Iterable

from deployer.agent.model.messages.host import ForeignPaths
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology, WebHost


def remarks(topology: Topology, facts: Facts) -> list[str]:
    """Return one warning per host on which another user owns paths below `shared/`."""
    return list(_remarks(topology, facts))


def _remarks(topology: Topology, facts: Facts) -> Iterable[str]:
    for web in topology.web:
        foreign = facts[web.name].foreign
        if foreign:
            yield _remark(topology.env, web, foreign)


def _remark(env: str, web: WebHost, foreign: ForeignPaths) -> str:
    count, users = foreign["count"], foreign["users"]
    at_least = "" if foreign["complete"] else "at least "
    paths = "1 path belongs" if count == 1 else f"{count} paths belong"
    chown = "; ".join(f"chown -Rh --from={user} {web.site.user}: {web.site.shared}" for user in users)
    return (
        f"{web.name}: {at_least}{paths} to uid {', '.join(users)}, so {web.site.user} cannot write there, the first is "
        f"{foreign['example']}. When nothing writes there as that user: deploy exec {env} -l {web.name} -- '{chown}'"
    )
