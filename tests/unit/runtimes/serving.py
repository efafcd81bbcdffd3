"""A small app in a release-like folder, and how it is served."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from deployer.runtimes import Serving, Target
from deployer.settings.models import Runtime as RuntimeSettings

ASGI = """
import json, os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = json.dumps({"cwd": os.getcwd(), "env": dict(os.environ), "client": scope["client"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

def create():
    return app
"""
WSGI = """
import json, os

def app(environ, start_response):
    body = json.dumps({"cwd": os.getcwd(), "env": dict(os.environ)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def make_release(folder: Path, code: str, *, module: str = "shop/main.py") -> Path:
    """A folder like a release: the code, and `.venv/bin/python` that is this test's own interpreter."""
    file = folder / module
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    return folder


def serving(
    path: str = "shop.main:app",
    interface: Literal["asgi", "wsgi"] = "asgi",
    *,
    factory: bool = False,
    workers: int = 1,
    pythonpath: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    **settings: Any,
) -> Serving:
    """Serving of that target on loopback, with those keys of `runtime:`."""
    return Serving(
        app="shop",
        target=Target(path, interface, factory),
        settings=RuntimeSettings(**settings),
        address="127.0.0.1",
        workers=workers,
        env=env or {},
        pythonpath=pythonpath,
    )
