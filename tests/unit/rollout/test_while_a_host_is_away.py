"""What only balancers have to be told works while a web host is away: exactly then it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scripted import Rollout, Slot, World
from support.topologies import topology

from deployer.errors import UsageError
from deployer.rollout.commands import maintenance, manual
from deployer.rollout.run.project import Project


class Away(World):
    """web2 answers to nobody."""

    def maintenance_set(self, host: str, args: Any) -> dict[str, Any]:
        self.maintenance = {"reason": args["reason"], "who": args["who"], "since": 0.0}
        return {"changed": True, "maintenance": self.maintenance}


@pytest.fixture
def fleet() -> Away:
    made = Away(topology(2, 1))
    made.lost.add("web2")
    made.serving["web2-8000"] = None
    for pool in made.pools.values():
        pool.update({f"web{number}-8500": Slot("maint", "spare") for number in (1, 2)})
    return made


@pytest.fixture
def asked(fleet: Away, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    """A run whose hosts are all that it needs to reach; it is refused where web2 is among them."""
    rollout = Rollout(fleet)

    @contextmanager
    def opened(project: Project, *_: Any, **__: Any) -> Iterator[Any]:
        assert fleet.lost.isdisjoint(host.name for host in project.topology.hosts)
        rollout.run.topology = project.topology
        yield rollout.run

    for module in (manual, maintenance):
        monkeypatch.setattr(module, "open_run", opened)
    return rollout


def project(fleet: World) -> Project:
    unread: Any = None
    return Project(unread, unread, fleet.topology, unread, "me@here")


def test_users_get_the_page_of_maintenance(fleet: Away, asked: Rollout) -> None:
    maintenance.maintenance(project(fleet), asked.invocation, on=True, reason="a broken rack")
    assert fleet.maintenance is not None and fleet.maintenance["reason"] == "a broken rack"


def test_the_host_that_is_away_is_taken_out_of_the_pools(fleet: Away, asked: Rollout) -> None:
    manual.drain(project(fleet), asked.invocation, host="web2", reason="no power", force=False)
    assert fleet.out == {"web2-8000": "person"}
    for pool in fleet.pools.values():
        pool["web1-7000"] = pool.pop("web1-8000")
        pool.pop("web1-8500")
    fleet.serving["web1-7000"] = fleet.serving.pop("web1-8000")
    with pytest.raises(UsageError, match="nothing else serves"):
        manual.drain(project(fleet), asked.invocation, host="web1", reason="no", force=False)


def test_a_host_that_no_balancer_knows_is_not_said_to_be_drained(fleet: Away, asked: Rollout) -> None:
    for pool in fleet.pools.values():
        for name in [name for name in pool if name.startswith("web2")]:
            del pool[name]
    with pytest.raises(UsageError, match="have no server of web2"):
        manual.drain(project(fleet), asked.invocation, host="web2", reason="no power", force=True)
