"""Which slot of an instance counts, and what the balancers are told of the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.facts import facts, host, release, server_state
from support.topologies import topology

from deployer.errors import SettingsError
from deployer.plan.facts import Facts, Serving
from deployer.plan.rolling import slots

OLD, NEW = "20240101T000000Z-0ld00000", "20240601T000000Z-new00000"


def ranked(*found: Serving, current: str | None = OLD) -> tuple[Serving | None, Serving | None]:
    serving, beside = slots.ranked(topology(1).web[0], {each.port: each for each in found}, current)
    return serving.get(0), beside.get(0)


def test_the_only_slot_in_use_counts() -> None:
    there = Serving(8500, OLD, True)
    assert ranked(there) == (there, None)


def test_what_proves_its_release_counts_before_what_does_not() -> None:
    good, bad = Serving(8500, NEW, True), Serving(8000, OLD, False, "health check: 500")
    assert ranked(good, bad) == (good, bad)


def test_the_current_release_counts_before_another() -> None:
    new, old = Serving(8000, NEW, True), Serving(8500, OLD, True)
    assert ranked(new, old) == (old, new)


def test_a_slot_that_is_in_use_by_nothing_is_not_beside() -> None:
    down, empty = Serving(8000, OLD, False, "not running"), Serving(8500, None, False, "not in use")
    assert ranked(down, empty) == (down, None)


def test_the_slot_that_the_balancers_use_counts_before_their_spare_one() -> None:
    both = facts(host("web1", [OLD, NEW], current=OLD, serving=[OLD], beside={0: (8500, NEW)}))
    pools = {"lb1": {"web1-8000": server_state("MAINT", held={"by": "spare"}), "web1-8500": server_state()}}
    found = slots.with_pools(topology(1), Facts(both.hosts, pools))["web1"]
    assert (found.serving[0].port, found.beside[0].port) == (8500, 8000)


def test_unused_slots_are_those_that_nobody_serves_in() -> None:
    shape = topology(2)
    found = facts(
        host("web1", [OLD], current=OLD, serving=[OLD]),
        host("web2", [OLD, NEW], current=OLD, serving=[OLD], beside={0: (8500, NEW)}),
    )
    assert slots.unused(shape, found) == [("web1", 8500)]


@pytest.mark.parametrize(
    ("bind", "slots_in_use", "wanted", "clash"),
    [
        ("unix", {"8000": OLD}, NEW, OLD),  # what serves listens at ports
        ("unix", {"7000": OLD}, NEW, None),  # in slots that the settings no longer have
        ("unix", {"7000": OLD}, OLD, OLD),  # a rollback to it
        ("port", {"8000": OLD}, OLD, None),
    ],
)
def test_one_slot_is_no_two_places(bind: str, slots_in_use: dict[str, str], wanted: str, clash: str | None) -> None:
    found = facts(host("web1", [OLD, release(NEW, bind=bind)], current=OLD, serving=[OLD], slots=slots_in_use))
    shape = topology(1, 0, bind=bind)
    if clash is None:
        slots.require_same_bind(shape, found, wanted)
    else:
        with pytest.raises(SettingsError, match=f"bind is unix, and {clash} listens at ports") as raised:
            slots.require_same_bind(shape, found, wanted)
        assert "port:" in str(raised.value.hint)


def test_a_limit_leaves_every_server_in_the_pool() -> None:
    shape = topology(3)
    limited = replace(shape, web=shape.web[1:2], spared=(shape.web[0], shape.web[2]))
    assert limited.pool(limited.balancers[0]) == shape.pool(shape.balancers[0])
    assert limited.instances == 3 and [host.name for host in limited.hosts] == ["lb1", "web2"]


@pytest.mark.parametrize(
    ("asked", "unit", "there"),
    [
        ("supervisord", "shop@8000.service", "systemd"),
        ("systemd", "supervisor.service", "supervisord"),
        ("systemd", "shop@8000.service", ""),
        ("supervisord", "a-terminal.service", ""),
    ],
)
def test_what_another_supervisor_runs_is_a_persons_to_move(asked: str, unit: str, there: str) -> None:
    """Its processes would be looked for where they are not, and the instance be left down."""
    shape = topology(1, 1, supervisor=asked)
    holder = {"pid": 7, "ours": True, "unit": unit, "socket": False}
    found = facts(host("web1", [OLD], current=OLD, ports={"8000": holder}))
    if not there:
        slots.require_same_supervisor(shape, found)
        return
    with pytest.raises(SettingsError, match=f"supervisor is {asked}, and {there} runs") as caught:
        slots.require_same_supervisor(shape, found)
    assert "deploy remove prod -l web1" in str(caught.value.hint)
