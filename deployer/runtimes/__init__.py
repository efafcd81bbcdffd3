"""Runtimes: the servers that can run an app. `get` finds one by the name that `runtime.server` gives."""

from __future__ import annotations

from importlib.metadata import entry_points

from deployer.errors import SettingsError
from deployer.runtimes.base import Runtime, Serving, Target
from deployer.runtimes.command import Command
from deployer.runtimes.gunicorn import Gunicorn, GunicornAsgi, GunicornUvicorn
from deployer.runtimes.standalone import standalone
from deployer.runtimes.uvicorn import Uvicorn

__all__ = ["ENTRY_POINTS", "Runtime", "Serving", "Target", "get", "standalone"]

ENTRY_POINTS = "deployer.runtimes"
"""A third party's package adds a runtime by an entry point of this group: its name → a class without arguments."""


def get(name: str) -> Runtime:
    """The runtime of that name (`uvicorn`, `gunicorn` …); SettingsError if there is none."""
    own: tuple[Runtime, ...] = (Uvicorn(), Gunicorn(), GunicornUvicorn(), GunicornAsgi(), Command())
    for runtime in own:
        if runtime.name == name:
            return runtime
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        extension: Runtime = entry.load()()
        return extension
    raise SettingsError(
        f"there is no server {name!r}",
        hint="runtime.server is one of " + ", ".join(runtime.name for runtime in own),
    )
