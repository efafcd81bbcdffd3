"""`deploy status` is for pipelines too: an instance that does not serve is exit 7."""

from __future__ import annotations

import pytest
from support.facts import facts, host
from support.topologies import topology

from deployer.errors import ChecksError
from deployer.plan.facts import Facts, HostFacts
from deployer.rollout.status import require_serving

NOW = "20240101T000000Z-aaaaaaaa"
LB = HostFacts("lb1", {})


def fleet(*hosts: HostFacts) -> Facts:
    return facts(*hosts, LB)


def test_all_is_well() -> None:
    require_serving(topology(1), fleet(host("web1", [NOW], current=NOW)))


def test_what_is_down_is_named_with_the_reason_of_the_first() -> None:
    sick = host("web1", [NOW], current=NOW, unproven={0: "health check: 500"})
    found = fleet(sick, host("web2", [NOW], current=NOW, serving=[]))
    with pytest.raises(ChecksError, match="2 of 2 instances do not serve: web1:0, web2:0") as down:
        require_serving(topology(2), found)
    assert down.value.exit_status == 7 and down.value.cause == "web1:0: health check: 500"


@pytest.mark.parametrize(
    "one",
    [
        host("web1"),
        host("web1", [NOW], current=NOW, serving=[], lock={"who": "me", "run": "r"}),
        host("web1", [NOW], current=NOW, serving=[], owner={"app": "shop", "env": "prod", "removed": {"who": "me"}}),
    ],
    ids=["nothing was ever pushed", "a run is at it", "it was taken off"],
)
def test_what_is_no_failure(one: HostFacts) -> None:
    require_serving(topology(1), fleet(one))


def test_a_host_that_does_not_answer_is_told_otherwise() -> None:
    require_serving(topology(1), fleet(host("web1", [NOW], current=NOW, serving=[])), {"web1"})
