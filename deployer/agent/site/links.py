"""The links of a site: `current`, `slots/<port>`, `processes/<name>`, `schedules/<name>`.

They are read whole, switched at once, and durable when a function returns.
"""

from __future__ import annotations

import os
import re

from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError
from deployer.agent.system import files

_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}\Z")


def release_at(path: str) -> str | None:
    """The id of the release a link points at; None when there is no such link."""
    try:
        return os.path.basename(os.readlink(path).rstrip("/")) or None
    except OSError:
        return None


def slots(site: Site) -> dict[str, str]:
    """port → release of every slot in use on this host."""
    return {name: release for name, release in _of(site.slots).items() if name.isdigit()}


def processes(site: Site) -> dict[str, str]:
    """`worker@1` → release of every process that this host has."""
    return {name: release for name, release in _of(site.processes).items() if not name.startswith(".")}


def schedules(site: Site) -> dict[str, str]:
    """`nightly` → release of every schedule that this host has."""
    return {name: release for name, release in _of(site.schedules).items() if not name.startswith(".")}


def used(site: Site) -> dict[str, str]:
    """`slots/8000`, `processes/worker@1`, `schedules/nightly` → release, of all that starts from a link of its own."""
    kinds = {"slots": slots(site), "processes": processes(site), "schedules": schedules(site)}
    return {f"{kind}/{name}": release for kind, targets in kinds.items() for name, release in targets.items()}


def require_complete(site: Site, release: str) -> None:
    """Raises OpError `incomplete` unless that release was built and sealed on this host."""
    if not _RELEASE.match(str(release)):
        raise OpError("incomplete", f"{release!r} is not a release id")
    if not os.path.isfile(site.marker(release)):
        raise OpError(
            "incomplete",
            f"release {release} is not complete in {site.releases}",
            "deploy push {env} builds it again; deploy releases {env} shows what is on the hosts",
        )


def point_slot(site: Site, port: int, release: str) -> None:
    """Makes `slots/<port>` lead to the release, at once."""
    os.makedirs(site.slots, exist_ok=True)
    _point(site.slot(port), "../releases/" + release)


def point_process(site: Site, name: str, release: str) -> None:
    """Makes `processes/<name>` lead to the release, at once."""
    os.makedirs(site.processes, exist_ok=True)
    _point(site.process(name), "../releases/" + release)


def drop_process(site: Site, name: str) -> bool:
    """Removes `processes/<name>`; False when it was not there. Raises OpError `refused` when it is no link of ours."""
    return _drop(site.process(name))


def point_schedule(site: Site, name: str, release: str) -> None:
    """Makes `schedules/<name>` lead to the release, at once."""
    os.makedirs(site.schedules, exist_ok=True)
    _point(site.schedule(name), "../releases/" + release)


def drop_schedule(site: Site, name: str) -> bool:
    """Removes `schedules/<name>`; False when it was not there. Raises OpError `refused` when it is no link of ours."""
    return _drop(site.schedule(name))


def point_current(site: Site, release: str) -> None:
    """Makes `current` lead to the release, at once."""
    _point(site.current, "releases/" + release)


def drop_current(site: Site) -> None:
    """Removes `current`. Raises OpError `refused` when it is no link of ours."""
    if os.path.lexists(site.current):
        _require_link(site.current)
        files.remove(site.current)


def empty_slot(site: Site, port: int) -> bool:
    """Removes `slots/<port>`; False when it was not there. Raises OpError `refused` when it is no link of ours."""
    return _drop(site.slot(port))


def _of(folder: str) -> dict[str, str]:
    """name → release of every link in a folder, in the order of the names."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    releases = {name: release_at(folder + "/" + name) for name in names if not name.startswith(".")}
    return {name: release for name, release in releases.items() if release}


def _drop(path: str) -> bool:
    if not os.path.lexists(path):
        return False
    _require_link(path)
    return files.remove(path)


def _point(path: str, target: str) -> None:
    if os.path.lexists(path):
        _require_link(path)
    files.replace_link(path, target)
    if os.readlink(path) != target:
        raise OpError("refused", f"{path} does not lead to {target} although it was just switched")


def _require_link(path: str) -> None:
    if not os.path.islink(path):
        raise OpError(
            "refused", f"{path} is not a link, so deploy did not make it", "look at it and move it out of the way"
        )
