"""What a person is told to type after a connection failed: the way that was tried, user, port and gateways included."""

from __future__ import annotations

import paramiko
import pytest

from deployer.remote.ssh.failures import Attempt, explain
from deployer.remote.ssh.ssh_config import SshConfig
from deployer.remote.ssh.target import Target


def target(name: str, port: int, via: Target | None = None) -> Target:
    return Target(name, name, port, "me", (), SshConfig(hostname=name, alias=name), 10.0, via=via)


@pytest.mark.parametrize(
    "gateway, ssh, copy",
    [
        ("", "ssh -p 2299 me@web1", "ssh-copy-id -p 2299 me@web1"),
        ("me@gate:22", "ssh -J me@gate:22 -p 2299 me@web1", "ssh-copy-id -o ProxyJump=me@gate:22 -p 2299 me@web1"),
    ],
)
def test_the_commands_take_the_way_of_the_inventory(gateway: str, ssh: str, copy: str) -> None:
    attempt = Attempt("web1", "web1", 2299, "me", 10.0, gateway=gateway)
    assert str(explain(TimeoutError(), attempt).hint).endswith(f"Try: {ssh}")
    assert copy in str(explain(paramiko.AuthenticationException(), attempt).hint)


def test_gateways_are_named_in_their_order() -> None:
    gate, inner = target("gate", 22), target("inner", 2200, target("gate", 22))
    assert target("web1", 22).jump == ""
    assert target("web1", 22, gate).jump == "me@gate:22"
    assert target("web1", 22, inner).jump == "me@gate:22,me@inner:2200"
