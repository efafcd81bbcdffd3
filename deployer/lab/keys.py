"""The lab's own SSH keys: one that opens every host, and one of each host, known before it first answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deployer.lab.commands import run
from deployer.lab.place import Place


def make_key(path: Path, comment: str) -> str:
    """Make an ed25519 key without a passphrase at `path`, unless it is there, and return its public line."""
    public = path.with_name(path.name + ".pub")
    if not public.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    return public.read_text().strip()


def pin_hosts(place: Place, keys: Mapping[str, str]) -> None:
    """Write the lab's known_hosts from address (`10.1.2.3` or `[127.0.0.2]:2222`) to public key line."""
    lines = [f"{address} {' '.join(line.split()[:2])}\n" for address, line in keys.items()]
    place.known_hosts.write_text("".join(lines))
