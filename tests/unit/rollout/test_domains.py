"""Before a push counts, users of each name are answered."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, World
from support.topologies import topology

from deployer.errors import ChecksError, RolloutError
from deployer.events import Warned
from deployer.rollout.traffic.domains import require_domains, warn_of_domains

NAMES = ["a.example.com", "b.example.com"]


def world(release: str | None = OLD, balancers: int = 2, **settings: Any) -> World:
    return World(topology(2, balancers, **{"rolling": {"soak": 0}, "domains": NAMES, **settings}), release)


def refused(fleet: World) -> ChecksError:
    with pytest.raises(ChecksError) as caught:
        require_domains(Rollout(fleet).run)
    return caught.value


def test_every_balancer_is_asked_for_every_name() -> None:
    fleet = world()
    require_domains(Rollout(fleet).run)
    assert sorted(fleet.asked) == [(lb, name, False) for lb in ("lb1", "lb2") for name in NAMES]
    fleet = world(tls="auto", balancers=1)
    require_domains(Rollout(fleet).run)
    assert fleet.asked == [("lb1", name, True) for name in NAMES]


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 405, 429])
def test_an_app_may_refuse_this_request(status: int) -> None:
    fleet = world()
    fleet.answers["b.example.com"] = status
    require_domains(Rollout(fleet).run)


def test_a_redirect_to_itself_serves_nobody_and_one_to_elsewhere_is_an_answer() -> None:
    fleet = world()
    fleet.answers["b.example.com"] = 301
    fleet.locations["b.example.com"] = "http://b.example.com/"
    error = refused(fleet)
    assert "http://b.example.com/ answers 301, a redirect to itself" in str(error.cause)
    assert "SECURE_PROXY_SSL_HEADER" in str(error.hint)
    fleet.locations["b.example.com"] = "https://b.example.com/"
    require_domains(Rollout(fleet).run)


def test_a_way_back_is_warned_and_not_held_up() -> None:
    fleet = world()
    fleet.answers["b.example.com"] = 500
    rollout = Rollout(fleet)
    warn_of_domains(rollout.run)
    fleet.fails("domains.request", "lb1")
    warn_of_domains(rollout.run)
    said = [event.message for event in rollout.events if isinstance(event, Warned)]
    assert sum("users of b.example.com are not served" in message for message in said) == 2, said
    assert "refused by the script" in said[-1]


@pytest.mark.parametrize(("status", "names"), [(400, "ALLOWED_HOSTS"), (500, "mend"), (503, "mend"), (None, "mend")])
def test_a_name_that_nobody_is_served_by_fails(status: int | None, names: str) -> None:
    fleet = world()
    fleet.answers["b.example.com"] = status
    error = refused(fleet)
    assert "b.example.com" in error.message and names in str(error.hint) and "health.public_path" in str(error.hint)
    assert str(status or "refused") in str(error.cause)


def test_a_certificate_that_is_on_its_way_is_no_failure_and_what_is_behind_it_is() -> None:
    fleet = world(tls="auto")
    fleet.answers["b.example.com"] = None
    require_domains(Rollout(fleet).run)
    fleet.answers["b.example.com"] = 400
    assert "https://b.example.com/ answers 400" in str(refused(fleet).cause)


@pytest.mark.parametrize(
    "change",
    [{"domains": []}, {"domains": ["*.example.com"]}, {"balancer": {"manage": False}}, {"balancers": 0}],
    ids=["no names", "a wildcard alone", "somebody else's balancer", "no balancer"],
)
def test_where_nobody_is_asked(change: dict[str, Any]) -> None:
    fleet = world(**change)
    require_domains(Rollout(fleet).run)
    assert fleet.asked == []


def test_in_maintenance_users_get_its_page() -> None:
    fleet = world()
    fleet.maintenance = {"who": "me", "reason": "disk", "since": 0}
    fleet.answers["b.example.com"] = 503
    require_domains(Rollout(fleet).run)
    assert fleet.asked == []


@pytest.mark.parametrize("release", [None, OLD], ids=["the first push", "a later one"])
def test_everything_goes_back(release: str | None) -> None:
    fleet = world(release)
    fleet.answers["a.example.com"] = 400
    rollout = Rollout(fleet)
    rollout.finish = lambda: require_domains(rollout.run)
    rollout.carry_out()
    assert isinstance(rollout.error, RolloutError) and rollout.error.exit_status == 5
    assert set(fleet.busy.values()) == ({OLD} if release else set()) and NEW not in fleet.busy.values()
