"""Hints from the code's imports and calls: does the app compute, does it wait, does it start its own server."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from deployer.settings.inference.app.modules import Code, Module

_COMPUTES = {
    "numpy", "pandas", "scipy", "sklearn", "torch", "tensorflow", "keras", "PIL", "cv2", "polars", "transformers",
    "numba",
}  # fmt: skip
_WAITS = {
    "requests", "httpx", "aiohttp", "urllib3", "psycopg", "psycopg2", "asyncpg", "sqlalchemy", "redis", "motor",
    "pymongo", "boto3", "openai", "anthropic",
}  # fmt: skip
_SERVES = {
    "uvicorn.run", "uvicorn.Server", "hypercorn.asyncio.serve", "waitress.serve", "aiohttp.web.run_app", "bottle.run",
    "wsgiref.simple_server.make_server", "werkzeug.serving.run_simple", "cheroot.wsgi.Server", "granian.Granian",
    "gevent.pywsgi.WSGIServer", "tornado.httpserver.HTTPServer",
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A name in the code, such as `numpy` or `uvicorn.run`, and the first `file:line` that has it."""

    name: str
    where: str


def computes(code: Code) -> Seen | None:
    """Return a library that keeps the processor busy, if the code imports one."""
    return _first_import(code, _COMPUTES)


def waits(code: Code) -> Seen | None:
    """Return a library that waits for other machines, if the code imports one."""
    return _first_import(code, _WAITS)


def serves_itself(code: Code) -> Seen | None:
    """Return where the code starts a server of its own, if it does."""
    return next((seen for module in code.modules for seen in _calls(module)), None)


def _first_import(code: Code, names: set[str]) -> Seen | None:
    for module in code.modules:
        for node in ast.walk(module.tree):
            matches = [name for name in _imported(node) if name in names]
            if matches:
                return Seen(matches[0], f"{module.file}:{getattr(node, 'lineno', 1)}")
    return None


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]


def _calls(module: Module) -> Iterator[Seen]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            name = module.qualified(node.func)
            if name in _SERVES:
                yield Seen(name, f"{module.file}:{node.lineno}")
