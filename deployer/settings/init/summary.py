"""The summary of `deploy init`: one line per choice, with its reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from deployer.agent.model.supervision import USUALLY_HEALTHY
from deployer.settings.inference.app import hints
from deployer.settings.inference.app.apps import Apps
from deployer.settings.inference.app.modules import read_code
from deployer.settings.inference.app.routes import Routes
from deployer.settings.inference.infer import Inferred, Reason
from deployer.settings.init.monorepo import similar_files

_SERVERS: dict[str, str] = {
    "uvicorn": "{app} is ASGI, and {requirements} names no gunicorn, which it does not need behind a balancer",
    "gunicorn": "{app} is WSGI, which uvicorn does not serve",
    "gunicorn+uvicorn": "{app} is ASGI, and {requirements} names both: gunicorn keeps the workers, which are uvicorn's",
    "gunicorn-asgi": "{app} is ASGI, and {requirements} names gunicorn alone, which has an ASGI worker of its own",
    "command": "it is started by its own command",
}


def reasons(
    folder: Path, inferred: Inferred, keys: Mapping[str, Any], *, sized: bool = False, by_web: Collection[str] = ()
) -> tuple[Reason, ...]:
    """Return what was inferred for the app in `folder`, in the order of a newcomer's questions.

    The code is only parsed.

    Args:
        keys: those of `runtime` that are written; `by_web` of them are decided by a Procfile.
        sized: server and workers are those of a size that was asked for.
    """
    code = read_code(folder)
    inferred_reasons = {reason.what: reason for reason in inferred.reasons}
    framework = inferred.framework or "the app"
    summary: list[Reason] = []
    if inferred.target:
        path = inferred.target.path + ("()" if inferred.target.factory else "")
        named = "as the Procfile names it" if "app" in by_web else "as you named it"
        why = inferred_reasons["runtime.app"].why if "runtime.app" in inferred_reasons else named
        kind = inferred.target.interface.upper()
        summary.append(Reason("app", path, ", ".join(filter(None, (inferred.framework, kind))) + f": {why}"))
    summary.append(
        Reason("server", inferred.server, _server(inferred, framework, sized=sized, by_web="server" in by_web))
    )
    if inferred.websockets:
        summary.append(_websockets(inferred.server, Routes(Apps(code)).websockets() or "the code"))
    if "workers" in by_web and not sized:
        summary.append(Reason("workers", str(keys["workers"]), "as the Procfile has it"))
    elif inferred.target and not sized:
        summary.append(_workers(inferred, hints.computes(code), hints.waits(code)))
    if "health.path" in inferred_reasons:
        summary.append(Reason("health", inferred_reasons["health.path"].value, inferred_reasons["health.path"].why))
    elif inferred.health_path is None:
        summary.append(
            Reason(
                "health",
                "/",
                f"no health route was found: {USUALLY_HEALTHY} is healthy; better is /healthz",
            )
        )
    if "python.version" in inferred_reasons:
        summary.append(
            Reason("python", inferred_reasons["python.version"].value, inferred_reasons["python.version"].why)
        )
    if inferred.requirements_file:
        summary.append(
            Reason("dependencies", inferred.requirements_file, "the first of the files that a push installs from")
        )
    elif inferred.unread:
        file, _ = inferred.unread
        summary.append(
            Reason("dependencies", "none", f"a push cannot install from {file}, and is refused until it can")
        )
    else:
        summary.append(Reason("dependencies", "none", _nothing_to_install(folder)))
    return tuple(summary)


def _server(inferred: Inferred, framework: str, *, sized: bool, by_web: bool) -> str:
    if sized:
        return "the size has it so"
    if by_web:
        return "as the Procfile has it"
    return _SERVERS[inferred.server].format(app=framework, requirements=inferred.requirements_file or "your project")


def _nothing_to_install(folder: Path) -> str:
    similar = similar_files(folder)
    remark = f"; {', '.join(similar)} is not read by itself" if similar else ""
    cause = "no uv.lock, pylock.toml, requirements.txt or pyproject.toml with [project] is here"
    return f"{cause}, so a push installs nothing that the app imports: write a requirements.txt{remark}"


def _websockets(server: str, where: str) -> Reason:
    if server == "gunicorn-asgi":
        why = (
            "gunicorn's own worker ends them without a close frame at a stop; server: gunicorn+uvicorn sends code 1012"
        )
    elif server == "gunicorn":
        why = "WSGI has none: they need an ASGI app, or a worker class that brings them"
    else:
        why = "at a stop they end with code 1012, on which browsers come back"
    return Reason("websockets", f"used in {where}", why)


def _workers(inferred: Inferred, computes: hints.Seen | None, waits: hints.Seen | None) -> Reason:
    wsgi = inferred.target is not None and inferred.target.interface == "wsgi"
    if computes:
        return Reason(
            "workers", "auto (2c+1)", f"{computes.name} in {computes.where} computes: workers: cpu (c+1) may do as well"
        )
    if waits and wsgi:
        why = (
            f"{waits.name} in {waits.where} waits for others: worker_class: gthread or workers: io (3c) lets more wait"
        )
        return Reason("workers", "auto (2c+1)", why)
    if waits:
        return Reason(
            "workers",
            "auto (2c+1)",
            f"{waits.name} in {waits.where} waits for others, and async code waits for many at once",
        )
    return Reason("workers", "auto (2c+1)", "nothing in the imports speaks for more or fewer")
