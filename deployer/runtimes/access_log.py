"""`runtime.access_log`: what an instance writes of each request, to its standard output as all of its log."""

from __future__ import annotations

import json
from typing import Literal

from deployer import templating
from deployer.errors import SettingsError
from deployer.runtimes.base import Serving

MODULE = "_deploy_access_log"
LOG_CONFIG = ".deploy-log-config.json"


def configured_access_log(serving: Serving) -> Literal["", "off", "plain", "json"]:
    """Return the setting; "" where it is left to the server, and to the app's own file for it."""
    return serving.settings.access_log if "access_log" in serving.settings.model_fields_set else ""


def files_for_uvicorn(serving: Serving) -> dict[str, str]:
    """uvicorn's own logging with access lines as JSON, and the module that makes them."""
    if configured_access_log(serving) != "json":
        return {}
    streams = {"default": "ext://sys.stderr", "access": "ext://sys.stdout"}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "default": {"()": "uvicorn.logging.DefaultFormatter", "fmt": "%(levelprefix)s %(message)s"},
            "access": {"()": f"{MODULE}.JsonLines"},
        },
        "handlers": {
            name: {"class": "logging.StreamHandler", "formatter": name, "stream": stream}
            for name, stream in streams.items()
        },
        "loggers": {
            "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
            "uvicorn.error": {"level": "INFO"},
            "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
        },
    }
    module = templating.render("access_log.py.j2", search=serving.search)
    return {LOG_CONFIG: json.dumps(config, indent=1) + "\n", f"{MODULE}.py": module}


def options_of_uvicorn(serving: Serving) -> tuple[str, ...]:
    """Return the words that bring it about."""
    return {"off": ("--no-access-log",), "json": ("--log-config", LOG_CONFIG)}.get(configured_access_log(serving), ())


def refused(serving: Serving) -> SettingsError | None:
    """Return why uvicorn cannot do as `runtime.access_log` says, since its arguments say something else; None if it
    can."""
    words = [word.partition("=")[0] for word in serving.settings.args]
    clash = {"json": {"--log-config", "--no-access-log"}, "plain": {"--no-access-log"}, "off": {"--access-log"}}
    for word in words:
        if word in clash.get(configured_access_log(serving), ()):
            return SettingsError(
                f"runtime.args has {word}, and runtime.access_log is {configured_access_log(serving)}",
                hint=f"keep one of them: {word}, or access_log: {configured_access_log(serving)}",
            )
    return None
