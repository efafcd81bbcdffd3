"""`deploy status` is for pipelines too: an instance that does not serve is exit 7."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.facts import bare_host, facts, host, server_state
from support.topologies import topology

from deployer.agent.model.messages.balancer import ServerState
from deployer.errors import ChecksError
from deployer.plan.facts import Facts, HostFacts
from deployer.remote.errors import AgentError
from deployer.rollout.queries.status import require_serving

NOW = "20240101T000000Z-aaaaaaaa"
LB = bare_host("lb1")


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


SERVES = server_state(check="L7OK")
DOWN = server_state("DOWN", check="L4CON")


def behind(*pools: ServerState, hosts: int = 1) -> Facts:
    """Proven instances on so many hosts, as balancers see them: the same state of every server, one dict a balancer."""
    webs = [host(f"web{number}", [NOW], current=NOW) for number in range(1, hosts + 1)]
    servers = [f"web{number}-8000" for number in range(1, hosts + 1)]
    seen = {f"lb{number}": dict.fromkeys(servers, state) for number, state in enumerate(pools, 1)}
    return replace(fleet(*webs), pools=seen)


@pytest.mark.parametrize("states", [(SERVES,), (DOWN, SERVES), (server_state("UP", serves=False),)])
def test_one_balancer_that_sends_it_requests_is_enough(states: tuple[ServerState, ...]) -> None:
    require_serving(topology(1), behind(*states))


@pytest.mark.parametrize("state", [DOWN, server_state("MAINT"), server_state("DRAIN")])
def test_a_proven_instance_that_gets_no_requests_does_not_serve(state: ServerState) -> None:
    with pytest.raises(ChecksError, match="2 of 2 instances do not serve: web1:0, web2:0") as down:
        require_serving(topology(2), behind(state, state, hosts=2))
    assert down.value.exit_status == 7
    assert "lb1: " in str(down.value.cause) and state["state"] in str(down.value.cause)
    assert "deploy push prod" in str(down.value.hint)


def test_what_a_person_took_out_is_in_order_and_what_a_dead_run_left_drained_is_not() -> None:
    record = {"by": "person", "reason": "disk", "since": 0, "run": "r"}
    require_serving(topology(1), behind(server_state("DRAIN", held=record)))
    with pytest.raises(ChecksError):
        require_serving(topology(1), behind(server_state("DRAIN", held={**record, "by": "run"})))


def test_whom_balancers_serve_that_cannot_be_asked_is_unknown() -> None:
    error = AgentError("balancer_down", "HAProxy cannot be asked", hint="systemctl status haproxy", host="lb1")
    with pytest.raises(ChecksError, match="whether users are served by web1:0 is unknown") as unknown:
        require_serving(topology(1), behind(), silent={"lb1": error})
    assert unknown.value.exit_status == 7 and "do not serve" not in str(unknown.value)
    assert unknown.value.cause == "lb1: HAProxy cannot be asked" and unknown.value.host == "lb1"
    assert "deploy exec prod -l lb1 -- systemctl status haproxy" in str(unknown.value.hint)
    with pytest.raises(ChecksError, match="is unknown"):
        found = behind(DOWN)
        hosts = {**found.hosts, "lb2": bare_host("lb2")}
        require_serving(topology(1, 2), replace(found, hosts=hosts), silent={"lb2": error})
    require_serving(topology(1), behind(SERVES), silent={"lb2": error})
    require_serving(topology(1), behind(), {"lb1"}, {"lb1": error})


def test_what_does_not_run_is_down_and_the_rest_unknown_while_no_balancer_can_be_asked() -> None:
    error = AgentError("balancer_down", "HAProxy cannot be asked", host="lb1")
    sick = host("web1", [NOW], current=NOW, unproven={0: "health check: 500"})
    with pytest.raises(ChecksError) as down:
        require_serving(topology(2), fleet(sick, host("web2", [NOW], current=NOW)), silent={"lb1": error})
    words = "1 of 2 instances do not serve: web1:0; whether users are served by web2:0 is unknown"
    assert down.value.message == words and down.value.cause == "web1:0: health check: 500"


def test_an_instance_that_the_user_may_not_look_at_is_unknown() -> None:
    why = "held by a process of user shop that user ana may not look into"
    closed = host("web1", [NOW], current=NOW, unproven={0: why}, unseen=[0])
    with pytest.raises(ChecksError, match="whether users are served by web1:0 is unknown") as unknown:
        require_serving(topology(1), fleet(closed))
    assert unknown.value.cause == why and unknown.value.code == "not_seen" and unknown.value.host == "web1"
    assert str(unknown.value.hint).startswith("log in as root (-u root), or set ansible_become: true")


def test_what_a_balancer_has_up_does_not_serve_where_it_accepts_no_connection() -> None:
    refused = {"lb1": "it does not accept connections at port 80: Connection refused"}
    with pytest.raises(ChecksError, match="1 of 1 instances do not serve: web1:0") as down:
        require_serving(topology(1), behind(SERVES), closed=refused)
    assert "lb1: it does not accept connections" in str(down.value.cause)
    assert str(down.value.hint).startswith("deploy exec prod -l lb1 -- systemctl restart haproxy")
    both = behind(SERVES, SERVES)
    hosts = {**both.hosts, "lb2": bare_host("lb2")}
    require_serving(topology(1, 2), replace(both, hosts=hosts), closed=refused)


def test_a_balancer_that_does_not_let_this_user_ask_names_what_does() -> None:
    hint = "user ana may not ask it: log in as root (-u root), or set ansible_become: true in the inventory"
    error = AgentError("balancer_down", "HAProxy cannot be asked", hint=hint, detail={"denied": "ana"}, host="lb1")
    with pytest.raises(ChecksError, match="is unknown") as unknown:
        require_serving(topology(1), behind(), silent={"lb1": error})
    assert unknown.value.hint == hint


def test_a_run_that_is_at_it_is_no_failure_whatever_the_balancer_says() -> None:
    found = behind(DOWN)
    busy = host("web1", [NOW], current=NOW, lock={"who": "me", "run": "r"})
    require_serving(topology(1), replace(found, hosts={**found.hosts, "web1": busy}))


def test_a_lock_whose_agent_is_stopped_is_no_run_at_it() -> None:
    answers = behind(DOWN)
    stuck = host("web1", [NOW], current=NOW, lock={"who": "me", "run": "r", "silent": 120})
    with pytest.raises(ChecksError):
        require_serving(topology(1), replace(answers, hosts={**answers.hosts, "web1": stuck}))
