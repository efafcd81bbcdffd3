"""Runtimes: the servers that can run an app. `get` finds one by the name that `runtime.server` gives."""

from __future__ import annotations

from deployer.registry import SERVERS, Registry
from deployer.runtimes.base import Runtime, Serving, Target
from deployer.runtimes.command import Command
from deployer.runtimes.gunicorn import Gunicorn, GunicornAsgi, GunicornUvicorn
from deployer.runtimes.standalone import standalone
from deployer.runtimes.uvicorn import Uvicorn

__all__ = ["Runtime", "Serving", "Target", "get", "standalone"]

_OWN = (Uvicorn(), Gunicorn(), GunicornUvicorn(), GunicornAsgi(), Command())
get = Registry[Runtime](SERVERS, Runtime, _OWN).get
