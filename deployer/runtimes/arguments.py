"""The user's own words for a server (`runtime.args`), kept away from what a rollout depends on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from deployer.runtimes.base import Serving

PORT = "$PORT"
"""The word, or part of a word, that the run script replaces by the port of its slot."""

SOCKET = "$DEPLOY_SOCKET"
"""Likewise by the path of its slot's UNIX socket, where instances listen at those."""

SLOT, VENV = "$DEPLOY_SLOT", "$DEPLOY_VENV"
"""Likewise: the slot's link, and the virtualenv's own folder. Their release may go while what started there serves."""

DEVELOPMENT_GRACE_S = "2"
"""Seconds that `deploy dev` gives to requests in flight: who saves a file waits for the new code, not for a stream."""

_OURS = "the slot, runtime.workers and the supervisor decide that"
_IN_FRONT = "the supervisor must see the server itself, in the foreground"

OURS: Mapping[str, str] = {
    "--host": _OURS,
    "--port": _OURS,
    "--uds": _OURS,
    "--fd": _OURS,
    "--bind": _OURS,
    "-b": _OURS,
    "--workers": _OURS,
    "-w": _OURS,
    "--reload": "a release never changes; `deploy dev` reloads",
    "--daemon": _IN_FRONT,
    "-D": _IN_FRONT,
    "--pid": _IN_FRONT,
    "-p": _IN_FRONT,
    "--chdir": "the server runs in the folder of its release",
    "--app-dir": "the server runs in the folder of its release",
    "--config": "the tool writes it; a gunicorn.conf.py of the app's own is read by it",
    "-c": "the tool writes it; a gunicorn.conf.py of the app's own is read by it",
    "--worker-class": "write runtime.worker_class, which is checked before anything is changed",
    "-k": "write runtime.worker_class, which is checked before anything is changed",
    "--preload": "with it a reload silently keeps the old code",
    "--graceful-timeout": "write runtime.graceful_timeout, which the supervisor's limits follow",
    "--timeout-graceful-shutdown": "write runtime.graceful_timeout, which the supervisor's limits follow",
    "--keep-alive": "write runtime.keepalive, which the balancer stays below",
    "--timeout-keep-alive": "write runtime.keepalive, which the balancer stays below",
    "--max-requests": "write runtime.max_requests",
    "--limit-max-requests": "write runtime.max_requests",
}


def refused_argument(words: Iterable[str], *, abbreviates: bool) -> str | None:
    """The first word that a rollout cannot allow, and why; None if all are fine.

    `abbreviates`: the server takes the start of a long option for the option (argparse does, click does not).
    """
    for word in words:
        name = word.partition("=")[0]
        if not word.startswith("--"):
            name = word[:2]
        for option, why in OURS.items():
            short_for = abbreviates and len(name) > 4 and name.startswith("--") and option.startswith(name)
            if name == option or short_for:
                return f"{word}: {why}"
    return None


def refuse_words(serving: Serving, *, variable: str | None, abbreviates: bool) -> str | None:
    """Why `runtime.args`, or the environment `variable` from which the server also takes options, is refused."""
    for word in serving.settings.args:
        option, gap, value = word.partition(" ")
        if gap and option.startswith("-") and "=" not in option:
            return f"runtime.args has {word!r} as one word: write it as two, [{option}, {value.strip()!r}]"
    why = refused_argument(serving.settings.args, abbreviates=abbreviates)
    if why:
        return f"runtime.args has {why}"
    if variable and variable in serving.env:
        try:
            words = shlex.split(serving.env[variable])
        except ValueError as error:
            return f"env.{variable} cannot be read as words: {error}"
        why = refused_argument(words, abbreviates=abbreviates)
        if why:
            return f"env.{variable} has {why}"
    return None


def bound(serving: Serving) -> str:
    """Where gunicorn binds: `address:$PORT`, with brackets around an IPv6 address, or `unix:$DEPLOY_SOCKET`."""
    return f"unix:{SOCKET}" if serving.at_sockets else f"{bracketed(serving.address)}:{PORT}"


def bracketed(address: str) -> str:
    """The address as it stands before a port: an IPv6 address in brackets."""
    return f"[{address}]" if ":" in address else address


def whole_seconds(duration: float) -> str:
    """Seconds as servers take them: whole, at least 1, rounded up."""
    return str(max(1, int(-(-duration // 1))))
