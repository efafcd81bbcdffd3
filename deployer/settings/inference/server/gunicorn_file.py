"""The app's own `gunicorn.conf.py`, parsed and never run: what it sets, and where that meets what a rollout decides."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.errors import SettingsError
from deployer.settings.inference.app.modules import assignments

NAME = "gunicorn.conf.py"
UNKNOWN = object()
"""Stands for a value that is only known by running the file."""

LEFT_ASIDE: Mapping[str, str] = {
    "bind": "the slot of the instance decides where it listens",
    "workers": "runtime.workers decides that",
    "graceful_timeout": "runtime.graceful_timeout decides that, and the supervisor's limits follow it",
    "keepalive": "runtime.keepalive decides that, and the balancer stays below it",
    "forwarded_allow_ips": "the balancers' addresses are trusted, and no others",
    "wsgi_app": "runtime.app decides that",
    "chdir": "the server runs in the folder of its release",
    "daemon": "the supervisor must see the server itself, in the foreground",
    "pidfile": "the supervisor knows the process",
    "reload": "a release never changes",
    "reuse_port": "with it a port that systemd holds is left alone",
    "preload_app": "with it a reload silently keeps the old code",
    "control_socket": "all instances of a user would share one socket, so deploy sets none",
}
"""What the tool decides, and the file cannot change; why."""

PLAIN = "the balancer and the health checks speak plain HTTP to an instance; `tls` is the balancer's"
ENDS = "with it the server exits instead of serving"
_OTHER_USER = "the supervisor starts it as `user:` of deploy.yaml, which cannot switch users"
_AS_OURS: Mapping[str, Any] = {
    "daemon": False,
    "pidfile": None,
    "reload": False,
    "reuse_port": False,
    "preload_app": False,
}

BREAKS: Mapping[str, str] = {
    "certfile": PLAIN,
    "keyfile": PLAIN,
    "proxy_protocol": "health checks come without the PROXY line, so the instance would never be healthy",
    "protocol": "the balancer and the health checks speak HTTP to an instance",
    "user": _OTHER_USER,
    "group": _OTHER_USER,
    "check_config": ENDS,
    "print_config": ENDS,
}
"""What the tool does not override, and no instance could serve with; why."""


@dataclass(frozen=True)
class GunicornFile:
    """What the file assigns at its top level: name → the line and the value, `UNKNOWN` where it is no literal."""

    assigned: Mapping[str, tuple[int, Any]] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """Return the value of a name: None when the file does not set it, `UNKNOWN` when it is only known by running
        the file."""
        return self.assigned.get(name, (0, None))[1]

    def left_aside(self, decided: Collection[str]) -> Iterator[str]:
        """`gunicorn.conf.py:3: bind …` for each thing in it that does not count. `decided` are keys of `runtime:`."""
        for name, (line, value) in self.assigned.items():
            if name in LEFT_ASIDE and not (name in _AS_OURS and value == _AS_OURS[name]):
                yield f"{NAME}:{line}: {name} is left aside: {LEFT_ASIDE[name]}"
            elif name in decided:
                key = "access_log" if name in ("accesslog", "logger_class") else name
                yield f"{NAME}:{line}: {name} is left aside: runtime.{key} decides that"

    def require_harmless(self) -> None:
        """Raise SettingsError with the line of the first thing with which no instance could serve."""
        for name, (line, value) in self.assigned.items():
            if name in BREAKS and value not in (None, False, "off", "http"):
                raise SettingsError(
                    f"{name} cannot be set there: {BREAKS[name]}",
                    file=NAME,
                    line=line,
                    step="plan",
                    hint=f"take {name} out of {NAME}",
                    code="gunicorn_file",
                )


def read_gunicorn_file(folder: Path) -> GunicornFile:
    """Return the file in the app's folder; an empty one when there is none.

    SettingsError, with its line, for no Python.
    """
    path = folder / NAME
    if not path.is_file():
        return GunicornFile()
    try:
        tree = ast.parse(path.read_text("utf-8", errors="replace"), NAME)
    except SyntaxError as error:
        raise SettingsError(
            f"{NAME} is not valid Python: {error.msg}", file=NAME, line=error.lineno, step="plan"
        ) from None
    return GunicornFile(
        {
            name: (statement.lineno, _literal(value))
            for statement in _flat(tree.body)
            for name, value in assignments(statement)
        }
    )


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements of the top level, and those inside its `if`, `try` and `with`."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(statement, part, ()):
                    yield from _flat(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])
        else:
            yield statement


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN
