"""Where a lab lies on this machine: its folder, the files in it, and the tag its traces elsewhere carry.

$XDG_CACHE_HOME/deployer/
  lab/<name>/        all of one lab; gone after `down`
    spec.json  lab.json  inventory.yaml  id_ed25519  known_hosts  hosts/<host>/
  roots/             root file systems of machines; they outlive labs
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from deployer.cache import cache
from deployer.errors import UsageError
from deployer.lab.model import LAB_NAME


@dataclass(frozen=True)
class Place:
    """The place of the lab called `name`; UsageError when that is not a valid lab name."""

    name: str
    folder: Path

    @classmethod
    def of(cls, name: str) -> Place:
        """Return the place where the current user's lab of that name is, or would be."""
        if not LAB_NAME.match(name):
            raise UsageError(f"{name!r} is not a valid lab name")
        return cls(name, cache() / "lab" / name)

    @property
    def tag(self) -> str:
        """Eight hex digits that mark what the lab leaves outside its folder; the same for the same folder."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    @property
    def spec_file(self) -> Path:
        """The lab's description; written first."""
        return self.folder / "spec.json"

    @property
    def state_file(self) -> Path:
        """The finished lab; written last, so a lab without it was never complete."""
        return self.folder / "lab.json"

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yaml"

    @property
    def key(self) -> Path:
        """The private key that opens every host."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def lock(self) -> Path:
        """Held while the lab is brought up or down."""
        return self.folder.parent / f".{self.name}.lock"

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts"

    def host(self, name: str) -> Path:
        """Return the folder of one host."""
        return self.hosts / name


def inventory_of(name: str) -> Path | None:
    """Return the inventory of the lab of that name if it was brought up, whatever state its hosts are in; else None."""
    if not LAB_NAME.match(name):
        return None
    place = Place.of(name)
    return place.inventory if place.state_file.exists() else None
