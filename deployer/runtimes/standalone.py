"""A server's settings as one file that a person can read, and run without `deploy`: `deploy render --standalone`."""

from __future__ import annotations

import shlex

from deployer import templating
from deployer.runtimes.access_log import configured_access_log
from deployer.runtimes.arguments import PORT, bracketed
from deployer.runtimes.base import Runtime, Serving
from deployer.runtimes.gunicorn import Gunicorn
from deployer.runtimes.uvicorn import Uvicorn
from deployer.runtimes.uvicorn_options import keywords
from deployer.settings.inference.server.effect import whole_seconds


def standalone(runtime: Runtime, serving: Serving, port: int) -> dict[str, str]:
    """Return name → content: `uvicorn_config.py`, or `gunicorn.conf.py`; nothing for other servers.

    `port` is taken where the environment names none. SettingsError for an option that cannot be written so.
    """
    serving = serving.at_ports
    if isinstance(runtime, Uvicorn):
        return {**runtime.files(serving), "uvicorn_config.py": _uvicorn(runtime, serving, port)}
    if isinstance(runtime, Gunicorn):
        return {"gunicorn.conf.py": _gunicorn(runtime, serving, port)}
    return {}


def _uvicorn(runtime: Uvicorn, serving: Serving, port: int) -> str:
    words = runtime.command(serving)
    at = words.index("uvicorn") + 1
    options = [word for word in words[at + 1 :] if word not in ("--port", PORT)]
    arguments = keywords(options, {**runtime.variables(serving), **serving.env})
    return templating.render(
        "uvicorn_config.py.j2",
        search=serving.search,
        app=serving.app,
        target=words[at],
        port=port,
        keywords=list(arguments.items()),
    )


def _gunicorn(runtime: Gunicorn, serving: Serving, port: int) -> str:
    settings = serving.settings
    return templating.render(
        "gunicorn.standalone.conf.py.j2",
        search=serving.search,
        app=serving.app,
        command=shlex.join(["python", "-m", "gunicorn", "--config", "gunicorn.conf.py", *settings.args]),
        target=runtime.target(serving),
        address=bracketed(serving.address),
        port=port,
        worker_class=serving.worker_class or runtime.worker_class(serving),
        workers=serving.workers,
        timeout=whole_seconds(settings.timeout),
        graceful_timeout=whole_seconds(settings.graceful_timeout, least=1),
        keepalive=whole_seconds(settings.keepalive),
        max_requests=settings.max_requests,
        max_requests_jitter=settings.jitter,
        trusted=",".join(serving.trusted),
        access_log=configured_access_log(serving),
    )
