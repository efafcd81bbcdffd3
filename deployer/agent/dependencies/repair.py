"""`repair.venv`: the virtualenv of a complete release is built again, from what the release itself records."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from deployer.agent.dependencies import tools, venv, venv_integrity
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import links
from deployer.agent.system import host_facts

_VERSION = re.compile(r"py(\d+\.\d+)")


@operation("repair.venv")
def build_again(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Builds the virtualenv of a release again if it is damaged. What serves goes on; nothing is stopped.

    Takes `site, release`, and `env`, `secrets`, `timeout` as `venv` has them. Returns `built`. OpError `incomplete`,
    `not_repairable`, `install_failed`, `missing_server`, `no_space`.
    """
    site, release = Site.from_args(args), str(args["release"])
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
    spec.update((key, args[key]) for key in ("env", "secrets", "timeout") if key in args)
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


def _spec(site: Site, marker: Mapping[str, Any], python: str) -> dict[str, Any]:
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
