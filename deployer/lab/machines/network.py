"""A lab's network: a bridge with a subnet of its own, and a way out through this machine.

Everything carries the lab's tag (the bridge in its name, firewall rules in a comment), so it is found again.
"""

from __future__ import annotations

import ipaddress
import json
import shlex
from pathlib import Path

from deployer.errors import NotReadyError
from deployer.lab.commands import attempt, run
from deployer.lab.locking import hold_lock
from deployer.lab.place import Place

SSH_PORT = 22
_LOCK = Path("/run/deploy-lab-network.lock")
_TABLES = ("filter", "nat")
Subnet = ipaddress.IPv4Network


def bridge_of(place: Place) -> str:
    """Return the bridge's name, at most 15 characters."""
    return f"lab-{place.tag}"


def make_bridge(place: Place) -> Subnet:
    """Make the bridge with a free subnet: its first address is this machine's, the others are the hosts'."""
    bridge = bridge_of(place)
    with hold_lock(_LOCK):
        subnet = _free_subnet()
        run(["ip", "link", "add", bridge, "type", "bridge", "forward_delay", "0"])
        run(["ip", "address", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", bridge])
    run(["ip", "link", "set", bridge, "up"])
    return subnet


def open_way_out(place: Place, subnet: Subnet) -> None:
    """Let the hosts reach what this machine reaches, under its address."""
    bridge = bridge_of(place)
    _rule(place, "nat", "-A", "POSTROUTING", "-s", str(subnet), "!", "-o", bridge, "-j", "MASQUERADE")
    _rule(place, "filter", "-I", "FORWARD", "-i", bridge, "-j", "ACCEPT")
    _rule(place, "filter", "-I", "FORWARD", "-o", bridge, "-j", "ACCEPT")


def cut(place: Place, host: str, address: str) -> None:
    """Drops, without a word, every packet between this machine and the host's sshd. Harmless to repeat."""
    mend(place, host)
    port = str(SSH_PORT)
    _rule(place, "filter", "-I", "OUTPUT", "-d", address, "-p", "tcp", "--dport", port, "-j", "DROP", host=host)
    _rule(place, "filter", "-I", "INPUT", "-s", address, "-p", "tcp", "--sport", port, "-j", "DROP", host=host)


def mend(place: Place, host: str) -> None:
    """End a cut. Harmless to repeat."""
    _remove_rules(_mark(place, host))


def unplug(place: Place, *links: str) -> None:
    """Take links off the lab's bridge, all when none is named, and remove both their ends. Harmless to repeat.

    The end in a host would otherwise stay as long as the kernel tries to close its connections, for minutes.
    """
    ports = Path("/sys/class/net") / bridge_of(place) / "brif"
    plugged = [port.name for port in ports.iterdir()] if ports.is_dir() else []
    for link in plugged:
        if not links or link in links:
            attempt(["ip", "link", "delete", link])


def exists(place: Place) -> bool:
    """Return whether the lab's bridge is there."""
    return (Path("/sys/class/net") / bridge_of(place)).exists()


def remove(place: Place) -> None:
    """Remove the lab's rules and its bridge. Harmless to repeat."""
    _remove_rules(_mark(place))
    if exists(place):
        run(["ip", "link", "delete", bridge_of(place)])


def _mark(place: Place, host: str = "") -> str:
    return f"deploy-lab-{place.tag}:{host}"


def _rule(place: Place, table: str, verb: str, chain: str, *words: str, host: str = "") -> None:
    run(["iptables", "-w", "-t", table, verb, chain, *words, "-m", "comment", "--comment", _mark(place, host)])


def _remove_rules(mark: str) -> None:
    """Remove the rules whose comment is `mark`, or begins with it when it ends with a colon."""
    for table in _TABLES:
        for line in attempt(["iptables", "-w", "-t", table, "-S"]).stdout.splitlines():
            words = shlex.split(line)
            if any(word == mark or (mark.endswith(":") and word.startswith(mark)) for word in words):
                run(["iptables", "-w", "-t", table, "-D", *words[1:]])


def _free_subnet() -> Subnet:
    taken = _taken()
    for second in range(77, 256):
        for third in range(256):
            candidate = Subnet(f"10.{second}.{third}.0/24")
            if not any(candidate.overlaps(other) for other in taken):
                return candidate
    raise NotReadyError("no subnet 10.x.y.0/24 is free on this machine", hint="deploy lab status; deploy lab down")


def _taken() -> list[Subnet]:
    """Return networks that have an address or a route here, and this machine's name servers."""
    networks = [entry["dst"] for entry in json.loads(run(["ip", "-j", "-4", "route"])) if entry["dst"] != "default"]
    for link in json.loads(run(["ip", "-j", "-4", "address"])):
        networks += [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]]
    for line in Path("/etc/resolv.conf").read_text().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1]:
            networks.append(words[1])
    return [Subnet(word, strict=False) for word in networks]
