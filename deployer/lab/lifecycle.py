"""Bringing labs up and taking them down, from whatever state they are in."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from deployer.agent.system import tree
from deployer.cache import cache
from deployer.errors import DeployError, UsageError
from deployer.lab.lab import Lab, kind_called
from deployer.lab.locking import hold_lock
from deployer.lab.machines.mounts import mounted_below
from deployer.lab.model import LabSpec, Progress
from deployer.lab.place import Place


def up(spec: LabSpec, progress: Progress) -> Lab:
    """Bring the lab up, and return it when every host answers; hosts of it that are off are switched on.

    A lab that was never finished, or whose machine was rebooted, is taken down first. `progress` is told, line by
    line, what takes time.

    Raises:
        UsageError: a lab of that name is up and differs from `spec`.
        NotReadyError: this machine cannot carry such a lab; the hint has the command to type.
        DeployError: a host did not come up; what there is of the lab stays to be looked at, until `down`.
    """
    kind = kind_called(spec.kind)
    place = Place.of(spec.name)
    kind.check(spec, progress)
    with hold_lock(place.lock):
        lab = _standing(place)
        if lab is not None:
            _same(spec, place)
            for host in lab.hosts:
                lab.power_on(host)
            return lab
        _clear(place, progress)
        place.folder.mkdir(parents=True)
        place.spec_file.write_text(json.dumps(_plain(spec)))
        fleet = kind.up(spec, place, progress)
        lab = Lab(spec.name, spec.kind, fleet.address, fleet.hosts, str(place.inventory), str(place.folder))
        fresh = place.state_file.with_suffix(".new")
        fresh.write_text(json.dumps(lab.as_dict(), indent=2))
        fresh.replace(place.state_file)
    progress(f"the lab {spec.name} is up: {len(fleet.hosts)} hosts, http://{fleet.address}/")
    return lab


def down(name: str, progress: Progress) -> None:
    """Take the lab down, however far it had come, and remove every trace of it but the cached root file system.

    Harmless when there is no such lab. DeployError when something of it cannot be removed.
    """
    place = Place.of(name)
    if not place.folder.exists() and not place.lock.exists():
        return
    with hold_lock(place.lock):
        _clear(place, progress)


def status(name: str) -> Lab | None:
    """Return the lab of that name when it is up (single hosts may be off), else None."""
    return _standing(Place.of(name))


def names() -> list[str]:
    """Return the names of all labs that are up, in alphabetical order."""
    folder = cache() / "lab"
    labs = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [name for name in labs if status(name) is not None]


def _standing(place: Place) -> Lab | None:
    try:
        lab = Lab.read(place.state_file)
    except (FileNotFoundError, ValueError):
        return None
    return lab if kind_called(lab.kind).alive(place) else None


def _plain(spec: LabSpec) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(spec)))
    return plain


def _same(spec: LabSpec, place: Place) -> None:
    if json.loads(place.spec_file.read_text()) != _plain(spec):
        raise UsageError(
            f"the lab {spec.name} is up, but with other options",
            hint=f"deploy lab down --name {spec.name}    (or give the other lab another --name)",
        )


def _clear(place: Place, progress: Progress) -> None:
    """End what there is of a lab and remove its folder."""
    if not place.folder.exists():
        return
    progress(f"taking down the lab {place.name}")
    kind_called(_kind_of(place)).down(place)
    if mounted_below(place.folder):  # removing files through a mount would remove somebody else's
        raise DeployError(f"something is still mounted below {place.folder}", hint=f"findmnt -R {place.folder}")
    tree.remove(str(place.folder))  # releases are read-only folders


def _kind_of(place: Place) -> str:
    """Return the kind that `spec.json` names; without it nothing had been started, so any kind will do."""
    try:
        return str(json.loads(place.spec_file.read_text())["kind"])
    except (FileNotFoundError, ValueError, KeyError):
        return "processes"
