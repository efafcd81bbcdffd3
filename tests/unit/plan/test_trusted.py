"""Whose forwarded headers an app believes: the balancers, by every address that its host sees them come from."""

from __future__ import annotations

from dataclasses import replace

from support.facts import facts, host
from support.topologies import topology

from deployer.plan.topology import Topology, bind_address, probe_address, trusted
from deployer.rollout.commands.push import seen_by


def named() -> Topology:
    """Two balancers that the inventory only names."""
    shape = topology(1, 2)
    lbs = [replace(lb, host=replace(lb.host, ssh=replace(lb.host.ssh, hostname=lb.name))) for lb in shape.balancers]
    return replace(shape, balancers=tuple(lbs))


def test_a_named_balancer_is_known_by_what_it_says_of_itself() -> None:
    shape = named()
    web = shape.web[0]
    there = facts(
        host("web1"),
        host("lb1", sources={web.own.address: "10.0.0.5", "192.0.2.99": "10.9.9.9"}),
        host("lb2", sources={web.own.address: "10.0.0.6"}),
    )
    assert trusted(shape.balancers) == ("127.0.0.1",)
    assert trusted(shape.balancers, seen_by(shape, there, web)) == ("127.0.0.1", "10.0.0.5", "10.0.0.6")


def test_one_that_has_another_address_towards_the_app_is_believed_by_both() -> None:
    shape = topology(1, 1)
    there = facts(host("web1"), host("lb1", sources={shape.web[0].own.address: "10.0.0.5"}))
    assert trusted(shape.balancers, seen_by(shape, there, shape.web[0])) == ("127.0.0.1", "192.0.2.101", "10.0.0.5")


def test_what_is_not_known_is_not_believed() -> None:
    shape = named()
    assert seen_by(shape, facts(host("web1"), host("lb1"), host("lb2", sources={})), shape.web[0]) == []


def test_a_host_that_is_reached_by_ipv6_listens_there_and_believes_balancers_of_both_families() -> None:
    one, two = topology(2, 1, own={"web1": {"address": "2001:db8::1"}}).web
    assert (bind_address(one), probe_address(one)) == ("::", "::1")
    assert (bind_address(two), probe_address(two)) == ("0.0.0.0", "127.0.0.1")
    balancers = topology(1, 1).balancers
    both = ("127.0.0.1", "192.0.2.101", "2001:db8::5", "::1", "::ffff:127.0.0.1", "::ffff:192.0.2.101")
    assert trusted(balancers, ["2001:db8::5"], by_ipv6=True) == both
