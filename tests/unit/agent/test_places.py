"""Where an instance listens, as one text and as its two parts."""

from __future__ import annotations

import pytest

from deployer.agent.model.endpoints import parts, place, socket_of
from deployer.balancers.base import port_in, server_name


@pytest.mark.parametrize(
    ("address", "text", "path"),
    [
        ("192.0.2.1", "192.0.2.1:8000", ""),
        ("2001:db8::1", "[2001:db8::1]:8000", ""),
        ("web1.example.com", "web1.example.com:8000", ""),
        ("/run/deploy/shop-prod", "/run/deploy/shop-prod/8000.sock", "/run/deploy/shop-prod/8000.sock"),
    ],
)
def test_a_place_is_taken_apart_as_it_was_joined(address: str, text: str, path: str) -> None:
    assert (place(address, 8000), socket_of(address, 8000)) == (text, path)
    assert parts(text) == (address, 8000)


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        (server_name("web1", 8000), "web1", 8000),
        (server_name("fe80::1%eth0", 8500), "fe80::1%eth0", 8500),
        ("web1-2-8000", "web1", None),
        ("web10-8000", "web1", None),
        ("theirs", "web1", None),
    ],
)
def test_a_servers_name_has_the_port_of_its_own_host_alone(server: str, host: str, port: int | None) -> None:
    assert port_in(server, host) == port
