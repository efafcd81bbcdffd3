"""The user's own words for a server (`runtime.args`), kept away from what a rollout depends on."""

from __future__ import annotations

import shlex

from deployer.errors import SettingsError
from deployer.runtimes.base import Serving
from deployer.settings.inference.server.options import Options

PORT = "$PORT"
"""The word, or part of a word, that the run script replaces by the port of its slot."""

SOCKET = "$DEPLOY_SOCKET"
"""Likewise by the path of its slot's UNIX socket, where instances listen at those."""

SLOT, VENV = "$DEPLOY_SLOT", "$DEPLOY_VENV"
"""Likewise: the slot's link, and the virtualenv's own folder. Their release may go while what started there serves."""

DEVELOPMENT_GRACE_S = "2"
"""Seconds that `deploy dev` gives to requests in flight: a developer waits for the new code, not for a stream."""


def refuse_words(serving: Serving, options: Options) -> SettingsError | None:
    """Return why `runtime.args`, or the environment variable from which the server also takes options, is refused."""
    for word in serving.settings.args:
        option, gap, value = word.partition(" ")
        if gap and option.startswith("-") and "=" not in option:
            return SettingsError(
                f"runtime.args has {word!r} as one word", hint=f"write it as two, [{option}, {value.strip()!r}]"
            )
    refused = options.refused(serving.settings.args)
    if refused:
        word, why, fix = refused
        return SettingsError(f"runtime.args has {word}: {why}", hint=fix)
    written = serving.env.get(options.variable)
    if written is None:
        return None
    try:
        refused = options.refused(shlex.split(written))
    except ValueError as error:
        return SettingsError(
            f"env.{options.variable} cannot be parsed: {error}", hint="close each quotation mark in it"
        )
    if refused:
        word, why, fix = refused
        return SettingsError(f"env.{options.variable} has {word}: {why}", hint=fix)
    return None


def bound(serving: Serving) -> str:
    """Return where gunicorn binds: `address:$PORT`, with brackets around an IPv6 address, or `unix:$DEPLOY_SOCKET`."""
    return f"unix:{SOCKET}" if serving.at_sockets else f"{bracketed(serving.address)}:{PORT}"


def bracketed(address: str) -> str:
    """Return the address as it stands before a port: an IPv6 address in brackets."""
    return f"[{address}]" if ":" in address else address
