"""IPv6 in a lab of machines: an address for every host, and one for this machine, in a network of the lab's own."""

from __future__ import annotations

import ipaddress
import subprocess

from deployer.lab import Lab


def give_ipv6(lab: Lab) -> dict[str, str]:
    """Gives every host an IPv6 address, `fd00:` and its IPv4 one, until the host goes. Returns host → address."""
    addresses = {name: _like(entry["host"]) for name, entry in lab.hosts.items()}
    for name, address in addresses.items():
        done = lab.exec(name, ["ip", "address", "replace", f"{address}/64", "dev", "host0", "nodad"])
        assert done.returncode == 0, done.stderr
    first = next(iter(lab.hosts.values()))["host"]
    gateway = str(ipaddress.IPv4Network(f"{first}/24", strict=False)[1])
    bridge = _bridge_of(gateway)
    command = ["ip", "address", "replace", f"{_like(gateway)}/64", "dev", bridge, "nodad"]
    subprocess.run(command, check=True, capture_output=True, timeout=10)
    return addresses


def _like(address: str) -> str:
    first, second, third, last = (int(part) for part in address.split("."))
    return str(ipaddress.IPv6Address(f"fd00:{first}:{second}:{third}::{last}"))


def _bridge_of(gateway: str) -> str:
    """The link of this machine that has the address."""
    shown = subprocess.run(["ip", "-o", "-4", "address"], check=True, capture_output=True, text=True, timeout=10)
    (link,) = [line.split()[1] for line in shown.stdout.splitlines() if line.split()[3].split("/")[0] == gateway]
    return link
