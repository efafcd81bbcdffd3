"""An address that the inventory has now is tried from the balancers' hosts before a push changes anything."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import OLD
from support.facts import facts, host, server_state
from support.loopback import free_port
from support.topologies import topology

from deployer.agent.balancer import servers
from deployer.agent.model.endpoints import place
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.requests import SERVERS
from deployer.agent.model.typed import Operation
from deployer.agent.operation import Context
from deployer.errors import NotReadyError
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology
from deployer.rollout.pools.new_addresses import require_new_addresses


class Handler(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Broken(Handler):
    status = 503


@contextmanager
def instance(address: str, port: int, handler: type[Handler] = Handler) -> Iterator[None]:
    """A server of HTTP at that address alone."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = type("Server", (ThreadingHTTPServer,), {"address_family": family})
    with kind((address, port), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class Run:
    """As much of a run as the check needs; the balancer's host asks with the agent's own operation."""

    def __init__(self, shape: Topology) -> None:
        self.topology = shape
        self.balancers = [each.name for each in shape.balancers]
        self.asked: list[dict[str, str]] = []

    def site(self, host: str) -> Any:
        return asdict(Site("shop", "prod", "/srv/shop"))

    def run_on_hosts(
        self, hosts: Sequence[str], operation: Operation[Any, Any], args: Callable[[str], Any], *, step: str
    ) -> dict[str, Any]:
        assert operation is SERVERS and step == "addresses"
        self.asked.append(args(hosts[0])["servers"])
        requests: dict[str, Any] = {name: {**args(name), "wait": 0} for name in hosts}
        return {name: servers.ask(Context(identity="me@here"), request) for name, request in requests.items()}

    @contextmanager
    def step(self, name: str, detail: str = "") -> Iterator[Any]:
        yield SimpleNamespace(detail=detail)


def moving(now: str, before: str = "127.0.0.1", *, proven: bool = True, **settings: Any) -> tuple[Run, Facts, int]:
    """One host that serves at `before`, by its balancer, and that the inventory has at `now`."""
    port = free_port()
    shape = topology(1, 1, {"web1": {"address": now, "port": port}}, **settings)
    server = server_state(address=place(before, port))
    one = host("web1", [OLD], current=OLD, first_port=port, unproven={} if proven else {0: "404"})
    return Run(shape), Facts(facts(one).hosts, {"lb1": {f"web1-{port}": server}}), port


def refused(run: Run, found: Facts) -> NotReadyError:
    with pytest.raises(NotReadyError) as caught:
        require_new_addresses(run, found)  # type: ignore[arg-type]
    return caught.value


def test_one_that_is_well_there() -> None:
    run, found, port = moving("127.0.0.2")
    with instance("127.0.0.2", port):
        require_new_addresses(run, found)  # type: ignore[arg-type]
    assert run.asked == [{f"web1-{port}": f"127.0.0.2:{port}"}]


def test_one_that_is_not_there_is_named_with_both_places() -> None:
    run, found, port = moving("127.0.0.2")
    with instance("127.0.0.1", port):
        error = refused(run, found)
    assert error.message.startswith(f"web1-{port} does not pass its health check at 127.0.0.2:{port}")
    assert error.host == "lb1" and "connection refused" in str(error.cause) and "lb1" in str(error.cause)
    assert f"127.0.0.1:{port}" in str(error.hint) and "web1" in str(error.hint)


def test_one_that_is_not_well_there() -> None:
    run, found, port = moving("127.0.0.2")
    with instance("127.0.0.2", port, Broken):
        assert "answered 503" in str(refused(run, found).cause)


def test_one_whose_release_listens_with_the_other_family_may_refuse() -> None:
    """Only the release that the push builds listens at `::`."""
    run, found, port = moving("::1")
    with instance("127.0.0.1", port):
        require_new_addresses(run, found)  # type: ignore[arg-type]
    assert run.asked == [{f"web1-{port}": f"[::1]:{port}"}]


def test_an_answer_of_the_other_family_counts_all_the_same() -> None:
    run, found, port = moving("::1")
    with instance("::1", port, Broken):
        assert "answered 503" in str(refused(run, found).cause)


def test_an_instance_that_listens_elsewhere_on_the_balancers_own_host_is_not_taken_for_it() -> None:
    """The balancer asks at 127.0.0.1 alone, whatever answers at ::1."""
    run, found, port = moving("127.0.0.1", before="127.0.0.2")
    with instance("::1", port):
        assert "connection refused" in str(refused(run, found).cause)


@pytest.mark.parametrize(
    ("now", "proven", "settings"),
    [
        ("127.0.0.1", True, {}),
        ("127.0.0.2", False, {}),
        (
            "127.0.0.2",
            True,
            {"kind": "command", "balancer": {"kind": "command", "drain": "a", "admit": "b", "state": "c"}},
        ),
        ("127.0.0.2", True, {"balancer": {"manage": False}}),
    ],
    ids=["no other address", "not well before", "commands", "a pool of somebody else's"],
)
def test_nobody_is_asked(now: str, proven: bool, settings: dict[str, Any]) -> None:
    run, found, _ = moving(now, proven=proven, **settings)
    require_new_addresses(run, found)  # type: ignore[arg-type]
    assert run.asked == []
