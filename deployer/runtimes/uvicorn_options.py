"""uvicorn's command line and its function `run` side by side: the words of the one as the keywords of the other.

Source: `uvicorn --help`, and `uvicorn.main.run`. Options that a rollout decides by itself are among them, since whole
commands are translated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from deployer.errors import SettingsError


def _truth(text: str) -> bool:
    return text.lower() in ("1", "true", "t", "yes", "y", "on")


TAKES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(
        (
            "host", "uds", "loop", "http", "ws", "lifespan", "interface", "env-file", "log-config", "log-level",
            "forwarded-allow-ips", "root-path", "ssl-keyfile", "ssl-certfile", "ssl-keyfile-password", "ssl-ca-certs",
            "ssl-ciphers", "app-dir",
        ),
        str,
    ),
    **dict.fromkeys(
        (
            "port", "fd", "workers", "ws-max-size", "ws-max-queue", "limit-concurrency", "backlog",
            "limit-max-requests", "limit-max-requests-jitter", "timeout-keep-alive", "timeout-graceful-shutdown",
            "timeout-worker-healthcheck", "ssl-version", "ssl-cert-reqs", "h11-max-incomplete-event-size",
        ),
        int,
    ),
    **dict.fromkeys(("ws-ping-interval", "ws-ping-timeout"), float),
    "ws-per-message-deflate": _truth,
}  # fmt: skip
"""Option without its dashes → what makes a value of the word behind it."""

FLAGS = ("factory", "http2", "reset-contextvars")
EITHER = ("access-log", "use-colors", "proxy-headers", "server-header", "date-header")
"""Options that stand alone, and those that have a `--no-` beside them."""


def keywords(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the keywords of `uvicorn.run` for a command's options.

    Args:
        words: everything behind the app.
        environ: variables that also set options (`UVICORN_LOG_LEVEL`); the words win.

    Raises:
        SettingsError: an option that is not supported.
    """
    arguments: dict[str, Any] = {}
    for name, convert in TAKES.items():
        variable = "UVICORN_" + _keyword(name).upper()
        if variable in environ:
            arguments[_keyword(name)] = _converted(name, convert, environ[variable])
    for name in (*FLAGS, *EITHER):
        variable = "UVICORN_" + _keyword(name).upper()
        if variable in environ:
            arguments[_keyword(name)] = _truth(environ[variable])
    headers: list[tuple[str, str]] = []
    for name, value in _options(words):
        if name == "header":
            header, _, text = value.partition(":")
            headers.append((header, text))
        elif name in TAKES:
            arguments[_keyword(name)] = _converted(name, TAKES[name], value)
        else:
            arguments[_keyword(name.removeprefix("no-"))] = not name.startswith("no-")
    return {**arguments, **({"headers": headers} if headers else {})}


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option without its dashes, with its value; "" for one that stands alone."""
    remaining = iter(words)
    for word in remaining:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and (name in TAKES or name == "header"):
            yield name, value if equals else next(remaining, "")
        elif word.startswith("--") and not equals and (name in FLAGS or name.removeprefix("no-") in EITHER):
            yield name, ""
        else:
            raise SettingsError(
                f"runtime.args has {word}, which cannot be written into uvicorn_config.py",
                hint="leave --standalone out; the command line in `run` has it",
            )


def _converted(name: str, convert: Callable[[str], Any], text: str) -> Any:
    try:
        return convert(text)
    except ValueError:
        raise SettingsError(f"uvicorn's --{name} is {text!r}, which is not a number") from None


def _keyword(name: str) -> str:
    return name.replace("-", "_")
