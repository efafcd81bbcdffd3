"""The Python that runs the app on a host, and whether it is one that the app asks for."""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from deployer.errors import NotReadyError
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology

_KNOWN = ("3.13", "3.12", "3.11", "3.10", "3.14", "3.9")
"""The Pythons that are proposed, the best known first."""


def interpreter(topology: Topology, facts: Facts, host: str) -> str:
    """The path of that Python: the version asked for where it is there, else the one that runs the agent."""
    version = topology.python_version
    if version:
        return facts[host].pythons.get(version) or f"python{version}"
    return facts[host].own_python["path"]


def require_python(topology: Topology, facts: Facts) -> None:
    """NotReadyError for the first web host that lacks the version asked for, or whose own is not in the app's range."""
    for web in topology.builders:
        own = facts[web.name].own_python["version"]
        wanted = topology.python_version
        if wanted and not facts[web.name].pythons.get(wanted):
            raise NotReadyError(
                f"{web.name} has no Python {wanted}",
                host=web.name,
                step="survey",
                cause=f"its own is {own}",
                hint=_ways_to(wanted, own),
                code="no_python",
            )
        if not wanted and own and not _within(own, topology.python_range):
            raise NotReadyError(
                f"{web.name} has Python {own}, and the app requires {topology.python_range}",
                host=web.name,
                step="survey",
                cause="requires-python in pyproject.toml",
                hint=_other_python(topology, facts, web.name),
                code="no_python",
            )


def _ways_to(wanted: str, own: str) -> str:
    own, minor = _minor(own), _minor(wanted)
    return (
        f'write python: {{version: "{own}"}} in deploy.yaml, or put a python{minor} into /usr/local/bin '
        f"({_by_uv(wanted)})"
    )


def _other_python(topology: Topology, facts: Facts, host: str) -> str:
    """A Python in the app's range: one that the host has, else the one that most hosts would have to be given."""
    wanted = topology.python_range
    present = sorted(facts[host].pythons, key=_by_number)
    for there in reversed(present):
        if _within_minor(there, wanted):
            return f'write python: {{version: "{there}"}} in deploy.yaml: {host} has it'
    version = next((version for version in _KNOWN if _within_minor(version, wanted)), None)
    if version is None:
        return (
            "mend requires-python in pyproject.toml, then type deploy {command} {env}: "
            "no available Python is in that range"
        )
    return (
        f'write python: {{version: "{version}"}} in deploy.yaml, and install it on the hosts: '
        f"{_by_uv(version)}; or widen requires-python"
    )


def _within_minor(version: str, wanted: str | None) -> bool:
    """Whether some patch release of `version` is in the range."""
    if version.count(".") > 1:
        return _within(version, wanted)
    return any(_within(f"{version}.{patch}", wanted) for patch in (0, 99))


def _by_number(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _by_uv(version: str) -> str:
    return f"UV_PYTHON_INSTALL_DIR=/opt/python UV_PYTHON_BIN_DIR=/usr/local/bin uv python install {version}"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _within(version: str, wanted: str | None) -> bool:
    try:
        return SpecifierSet(wanted or "").contains(version, prereleases=True)
    except InvalidSpecifier:  # whoever builds the app says so
        return True
