"""What a server's version must be for what the settings ask of it, against what the requirements ask for.

Source: the release notes of uvicorn and gunicorn. Of the options that every command line has, the youngest counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.version import Version

from deployer.errors import SettingsError
from deployer.settings.inference.requirements import Requirements
from deployer.settings.models import Runtime

REPLACES_WORKERS = "0.30"
"""The uvicorn from which on a worker that dies has a successor; those before it wait for the end of all."""


@dataclass(frozen=True)
class _Least:
    """`server` with that `key` of `runtime:` takes `package` from `version` on; `why` goes on from `runtime.key`."""

    server: str
    key: str
    package: str
    version: str
    why: str


_LEAST = (
    _Least("gunicorn-asgi", "server", "gunicorn", "24", "is gunicorn-asgi, which came with gunicorn 24"),
    _Least(
        "uvicorn", "server", "uvicorn", "0.22", "is uvicorn, whose --timeout-graceful-shutdown came with uvicorn 0.22"
    ),
    _Least(
        "uvicorn",
        "max_requests",
        "uvicorn",
        REPLACES_WORKERS,
        f"ends workers, which uvicorn replaces from {REPLACES_WORKERS} on",
    ),
    _Least(
        "uvicorn",
        "max_requests_jitter",
        "uvicorn",
        "0.41",
        "is --limit-max-requests-jitter, which came with uvicorn 0.41",
    ),
)


def too_old(server: str, runtime: Runtime, requirements: Requirements) -> SettingsError | None:
    """Return why every version that the requirements allow is too old for this server with these settings; None
    if not."""
    unmet = [
        least
        for least in _LEAST
        if least.server == server
        and (least.key == "server" or getattr(runtime, least.key))
        and requirements.older(least.package, least.version)
    ]
    if not unmet:
        return None
    worst = max(unmet, key=lambda least: Version(least.version))
    return SettingsError(
        f"runtime.{worst.key} {worst.why}, but the requirements allow only an older one",
        step="plan",
        hint=f"allow {worst.package}>={worst.version} there, or write runtime: {{server: gunicorn+uvicorn}}",
        code="server_version",
    )


def remarks(server: str, runtime: Runtime, requirements: Requirements) -> Iterator[str]:
    """Yield the plan's remarks on a version that can serve, but not as well as a later one."""
    if server == "uvicorn" and runtime.workers != 1 and requirements.older("uvicorn", REPLACES_WORKERS):
        yield (
            f"the requirements hold uvicorn below {REPLACES_WORKERS}, which does not replace a worker that dies: "
            f"allow uvicorn>={REPLACES_WORKERS}, or write runtime: {{server: gunicorn+uvicorn}}"
        )
