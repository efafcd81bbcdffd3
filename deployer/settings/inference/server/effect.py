"""Which keys of `runtime:` come to something with a server: one that was written and does nothing is a mistake."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from deployer.errors import SettingsError
from deployer.settings.models import Runtime

_COMMAND = "is for servers that deploy starts by itself; here the command decides"
_NONE: Mapping[str, Mapping[str, str]] = {
    "command": {
        "workers": f"{_COMMAND} how many there are",
        "timeout": f"{_COMMAND} how long a request may take",
        "max_requests": f"{_COMMAND} when a worker is replaced",
        "max_requests_jitter": f"{_COMMAND} when a worker is replaced",
        "access_log": f"{_COMMAND} the log of requests",
    },
    "uvicorn": {"timeout": "is a limit that uvicorn does not have"},
}
"""Server → key → why it does nothing there. `keepalive` is not among them: balancers go by it, whatever serves."""

_DURATIONS: Mapping[str, int] = {"timeout": 0, "graceful_timeout": 1, "keepalive": 0}
"""Keys that servers take in whole seconds → the least of them; 0 is gunicorn's word for never."""


def refused(server: str, runtime: Runtime) -> SettingsError | None:
    """Return the first key that was written and does nothing with this server, or not what it says; None if there is
    none."""
    written_keys = runtime.model_fields_set
    for key, why in _NONE.get(server, {}).items():
        if key in written_keys:
            return _wrong(f"runtime.{key} {why}", f"take {key} out (in an overlay: {key}: null)")
    if runtime.max_requests_jitter and "max_requests" not in written_keys:
        return _wrong(
            "runtime.max_requests_jitter spreads max_requests, which is not set",
            "write max_requests: 1000 beside it, or take it out",
        )
    if runtime.keepalive == 0 and server in ("uvicorn", "gunicorn+uvicorn"):
        return _wrong(
            "runtime.keepalive is 0, so uvicorn closes connections without a notice to the balancer",
            "write keepalive: 1s or more",
        )
    return None


def remarks(server: str, runtime: Runtime) -> Iterator[str]:
    """Durations that the server cannot have as they are written, for the plan."""
    for key, least in _DURATIONS.items():
        written = getattr(runtime, key)
        gets = whole_seconds(written, least)
        if server != "command" and written != gets:
            yield f"runtime.{key} is {written:g} s, and {server} takes whole seconds: it gets {gets}"


def whole_seconds(duration: float, least: int = 0) -> int:
    """Return seconds as servers take them: whole, rounded up."""
    return max(least, math.ceil(duration))


def _wrong(what: str, hint: str) -> SettingsError:
    return SettingsError(what, step="plan", hint=hint, code="no_effect")
