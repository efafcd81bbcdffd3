"""`repair.venv`: the virtualenv of a complete release is built again, from what the release itself records."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from deployer.agent.dependencies import tools, venv, venv_integrity
from deployer.agent.model.layout import Site
from deployer.agent.model.messages import dependencies as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import links
from deployer.agent.system import host_facts

_VERSION = re.compile(r"py(\d+\.\d+)")


@operation(wire.REPAIR)
def build_again(ctx: Context, request: wire.RepairVenv) -> wire.Repaired:
    """Builds the virtualenv of a complete release again if it is damaged, from what its marker records.

    It is built in a folder beside the damaged one; the releases' `.venv` links move at once. What serves goes on.

    Raises:
        OpError: `incomplete`, `not_repairable`, `install_failed`, `missing_server`, `no_space`.
    """
    site, release = Site.of(request), str(request["release"])
    links.require_complete(site, release)
    why = venv_integrity.damage(site.release(release) + "/.venv")
    if not why:
        return {"built": False}
    marker = _marker(site, release)
    python = interpreter(site, marker)
    if not python:
        raise OpError(
            "not_repairable",
            f"the virtualenv of release {release} is damaged ({why}) and cannot be built again from what "
            "is on this host",
            f"deploy push {site.env} builds a new release",
        )
    spec = _spec(site, marker, python)
    spec["env"], spec["secrets"] = request.get("env", {}), request.get("secrets", {})
    if "timeout" in request:
        spec["timeout"] = request["timeout"]
    return {"built": venv.ensure(ctx, site, spec)}


def interpreter(site: Site, marker: Mapping[str, Any]) -> str:
    """The Python on this host by which the release's virtualenv can be built again; empty if it cannot be."""
    version = _VERSION.match(str(marker.get("venv") or ""))
    if version is None or marker.get("requirements") is None or marker.get("wheels"):
        return ""
    named = host_facts.found_in(host_facts.search_path(site), "python" + version.group(1))
    for path in (str(_install(marker).get("python") or ""), named or ""):
        if path and _has_version(path, version.group(1)):
            return path
    return ""


def _has_version(path: str, version: str) -> bool:
    if not os.access(path, os.X_OK):
        return False
    try:
        return str(venv.describe_interpreter(path)["version"]).startswith(version + ".")
    except OpError:
        return False


def _spec(site: Site, marker: Mapping[str, Any], python: str) -> wire.VenvSpec:
    key = str(marker["venv"])
    install = _install(marker)
    installer = str(install.get("installer") or key.rpartition("-")[2])
    uv = tools.find_uv(site) if installer == "uv" else ""
    return {
        "key": key,
        "python": python,
        "installer": "pip" if installer == "uv" and not uv else installer,
        "uv": uv,
        "requirements": list(marker["requirements"]),
        "requires": list(install.get("requires") or ()),
    }


def _install(marker: Mapping[str, Any]) -> dict[str, Any]:
    install = marker.get("install")
    return install if isinstance(install, dict) else {}


def _marker(site: Site, release: str) -> dict[str, Any]:
    with open(site.marker(release), encoding="utf-8") as file:
        marker: dict[str, Any] = json.load(file)
    return marker
