"""IPv6 addresses in inventories: as names of hosts, as ansible_host, as gateways, and where balancers reach a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import InventoryError
from deployer.inventory.load import load
from deployer.inventory.model import Inventory
from deployer.inventory.names import usual_form
from deployer.inventory.patterns import select
from deployer.inventory.ssh_args import read_ssh_args
from deployer.remote.ssh.ssh_config import Hop

FORMATS = {
    "yaml": 'web: {{hosts: {{"{}": {{}}}}}}\n',
    "ini": "[web]\n{}\n",
    "json": '#!/bin/sh\necho \'{{"web": {{"hosts": ["{}"]}}, "_meta": {{"hostvars": {{}}}}}}\'\n',
}


def inventory(folder: Path, text: str, kind: str = "yaml") -> Inventory:
    path = folder / ("inventory" if kind == "json" else f"inventory.{kind}")
    path.write_text(text)
    path.chmod(0o755 if kind == "json" else 0o644)
    return load("prod", folder, path)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("written", "name", "port"),
    [
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[::1]:2222", "::1", 2222),
        ("[fd00::2]:22", "fd00::2", 22),
        ("2001:DB8:0:0::1", "2001:DB8:0:0::1", None),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("[fe80::1%eth0]:22", "fe80::1%eth0", 22),
    ],
)
def test_a_host_is_named_by_its_address(tmp_path: Path, kind: str, written: str, name: str, port: int | None) -> None:
    (host,) = inventory(tmp_path, FORMATS[kind].format(written), kind).hosts
    assert (host.name, host.ssh.hostname, host.ssh.port) == (name, name, port)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("host[::]", "neither a range nor an IPv6 address"),
        ("web[::1]", "neither a range nor an IPv6 address"),
        ("[fd00::1]2222", "neither a range nor an IPv6 address"),
        ("[::1]:0", "no valid port"),
        ("[::1]:99999", "no valid port"),
        ("fd00::g", "is not a host name"),
        ("::", "stands for every address"),
        ("0.0.0.0", "stands for every address"),
        ("fe80::1", "is link-local, so it needs the interface"),
        ("[192.0.2.1]:22", "is not a valid range"),
    ],
)
def test_a_name_that_cannot_work_is_refused(tmp_path: Path, kind: str, written: str, says: str) -> None:
    with pytest.raises(InventoryError, match=says):
        inventory(tmp_path, FORMATS[kind].format(written), kind)


@pytest.mark.parametrize(
    ("variables", "address", "port"),
    [
        ('ansible_host: "::1", ansible_port: 2222', "::1", 2222),
        ('ansible_host: "[::1]"', "::1", None),
        ('ansible_host: "fe80::1%2"', "fe80::1%2", None),
    ],
)
def test_ansible_host(tmp_path: Path, variables: str, address: str, port: int | None) -> None:
    ssh = inventory(tmp_path, f"web: {{hosts: {{web1: {{{variables}}}}}}}\n").hosts[0].ssh
    assert (ssh.hostname, ssh.port) == (address, port)


def test_ansible_host_in_ini(tmp_path: Path) -> None:
    ssh = inventory(tmp_path, "[web]\nweb1 ansible_host=::1 ansible_port=2222\n", "ini").hosts[0].ssh
    assert (ssh.hostname, ssh.port) == ("::1", 2222)


def test_a_port_in_ansible_host_is_refused_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="has a port") as caught:
        inventory(tmp_path, 'web: {hosts: {web1: {ansible_host: "[::1]:2222"}}}\n')
    assert caught.value.hint == "ansible_host: ::1, ansible_port: 2222" and caught.value.line == 1


@pytest.mark.parametrize(
    ("jump", "hop"),
    [
        ("root@[::1]:2222", Hop("::1", "root", 2222)),
        ("[::1]", Hop("::1")),
        ("ssh://root@[fd00::1]:22", Hop("fd00::1", "root", 22)),
        ("[fe80::1%eth0]:22", Hop("fe80::1%eth0", None, 22)),
    ],
)
def test_gateways(jump: str, hop: Hop) -> None:
    for args in (f"-J {jump}", f"-o ProxyJump={jump}"):
        gateway = read_ssh_args(args).gateway
        assert gateway == jump and Hop.parse(gateway) == hop
    assert read_ssh_args(f"-6 -o AddressFamily=inet6 -J {jump}").gateway == jump


def test_a_gateway_by_proxy_command() -> None:
    assert read_ssh_args("-o ProxyCommand='ssh -W [%h]:%p -p 2222 root@[::1]'").gateway == "root@[::1]:2222"


@pytest.mark.parametrize("jump", ["::1", "root@::1", "[eth0]:22", "[::1"])
def test_a_gateway_without_brackets_is_refused_as_ssh_does(jump: str) -> None:
    with pytest.raises(ValueError, match=r"user@\[::1\]:port"):
        read_ssh_args(f"-J {jump}")


def test_patterns_name_hosts_by_their_addresses(tmp_path: Path) -> None:
    made = inventory(tmp_path, 'web: {hosts: {"::1": {}, "fd00::2": {}, "fd00::3": {}}}\n')
    chosen = {pattern: [host.name for host in select(made, pattern)] for pattern in ("::1", "web,!::1", "fd00::*,")}
    assert chosen == {"::1": ["::1"], "web,!::1": ["fd00::2", "fd00::3"], "fd00::*,": ["fd00::2", "fd00::3"]}


@pytest.mark.parametrize(
    ("written", "usual"),
    [
        ("2001:DB8:0::0:1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("Web1.example", "Web1.example"),
    ],
)
def test_one_address_has_one_form(written: str, usual: str) -> None:
    assert usual_form(written) == usual
