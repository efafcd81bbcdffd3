"""The `runtime` that `deploy init` writes: what the command line, a Procfile and a size say, held against the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deployer.errors import SettingsError, UsageError
from deployer.settings.inference.app.choice import AmbiguousAppError
from deployer.settings.inference.infer import Inferred, infer
from deployer.settings.inference.requirements import read_requirements
from deployer.settings.inference.server.project_script import not_installed, own_command
from deployer.settings.init.monorepo import part_of
from deployer.settings.init.size_presets import Scale, Size, scale
from deployer.settings.models import Settings
from deployer.settings.yaml.flow import flow


@dataclass(frozen=True)
class InitOptions:
    """What the command line says beside the folder: the app or the command to serve, and the size to begin with."""

    app: str | None = None
    command: str | None = None
    size: Size | None = None


@dataclass(frozen=True)
class InitChoice:
    """Keys of `runtime` that have to be written, and what the code tells with them.

    `by_web` are those of them that the Procfile's web decides. `of_size` are remarks on the size, `of_web` on what web
    loses.
    """

    keys: Mapping[str, Any]
    inferred: Inferred
    by_web: frozenset[str] = frozenset()
    of_size: tuple[str, ...] = ()
    of_web: tuple[str, ...] = ()


def choose_runtime(folder: Path, options: InitOptions, web: Mapping[str, Any]) -> InitChoice:
    """Return what to write for the app in `folder`, with the `runtime` that the Procfile's web comes to.

    Raises: SettingsError for a folder without an app, or with several that could be meant, with what to type.
    """
    option_keys = {
        key: value for key, value in (("app", options.app), ("command", options.command)) if value is not None
    }
    sized = scale(options.size) if options.size else None
    web = web if options.command is None else {}
    given_up = web.get("command") if sized else None
    choice = _with_web(folder, option_keys, {} if given_up else web)
    if sized is None:
        return choice
    keys, overruled = _of_size(sized, choice.inferred, choice.keys)
    words = [sized.why, f"today: {sized.today}"]
    if given_up:
        words.append(f"Procfile: web's command is left out, since the size decides the server: {given_up}")
    return replace(choice, keys=keys, inferred=_inferred(folder, keys), of_size=(*words, *overruled))


def _with_web(folder: Path, option_keys: Mapping[str, Any], web: Mapping[str, Any]) -> InitChoice:
    """Return the keys of web with those of the command line over them, unless the code does not bear web out."""
    if not web:
        return InitChoice(option_keys, _inferred(folder, option_keys))
    keys = {**web, **option_keys}
    try:
        choice = _recycling(InitChoice(keys, _inferred(folder, keys)))
        return replace(choice, by_web=frozenset(choice.keys) - set(option_keys))
    except AmbiguousAppError:
        raise
    except SettingsError as refused:
        if refused.code == "interface":
            choice = _recycling(_other_server(folder, keys))
            return replace(choice, by_web=frozenset(choice.keys) - set(option_keys))
        return InitChoice(option_keys, _inferred(folder, option_keys), of_web=(f"web is left out: {refused.message}",))


def _other_server(folder: Path, keys: Mapping[str, Any]) -> InitChoice:
    """These keys without web's server, which does not serve the app that it names, and with what another takes."""
    unfit = ("server", "worker_class", "args", "timeout")
    kept = {key: value for key, value in keys.items() if key not in unfit}
    server = _inferred(folder, kept).server
    if "timeout" in keys and server != "uvicorn":
        kept["timeout"] = keys["timeout"]
    again = _inferred(folder, kept)
    words = [*keys.get("args", ()), *([f"timeout {keys['timeout']}"] if "timeout" in keys.keys() - kept else ())]
    lost = f"; its {' '.join(words)} is left out" if words else ""
    what = f"{again.target.path}, which is {again.target.interface.upper()}" if again.target else "the app"
    return InitChoice(kept, again, of_web=(f"web's {keys['server']} does not serve {what}: {server} does{lost}",))


def _recycling(choice: InitChoice) -> InitChoice:
    """Without the replacing of workers, where one uvicorn process would refuse requests meanwhile."""
    if choice.inferred.server != "uvicorn" or choice.keys.get("workers") != 1 or not choice.keys.get("max_requests"):
        return choice
    kept = {key: value for key, value in choice.keys.items() if key not in ("max_requests", "max_requests_jitter")}
    why = f"web: max_requests {choice.keys['max_requests']} is left out: one uvicorn process refuses requests meanwhile"
    return replace(choice, keys=kept, of_web=(*choice.of_web, f"{why}; workers: 2 takes it"))


def _inferred(folder: Path, runtime: Mapping[str, Any]) -> Inferred:
    """Return what the code tells with these keys of `runtime`.

    The ways out are words of this command, not of a file.
    """
    try:
        settings = Settings.model_validate({"app": "app", "runtime": dict(runtime)})
    except ValidationError as wrong:
        first = wrong.errors()[0]
        option = f"--{first['loc'][-1]}" if first["loc"][-1] in ("app", "command") else "init"
        raise UsageError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None
    try:
        inferred = infer(folder, settings)
        if inferred.refused:
            raise inferred.refused
        if settings.runtime.command:
            _require_usable(folder, settings.runtime.command)
        return inferred
    except AmbiguousAppError as several:
        parts = [several.folder or _alone(folder, candidate) for candidate in several.candidates]
        alternative = f"--app '{several.candidates[0]}', or another of them"
        several.hint = f"deploy init {f'{parts[0]}, or another of their folders' if all(parts) else alternative}"
        raise
    except SettingsError as none:
        if none.message.startswith("runtime.app is "):
            none.message = none.message.replace("runtime.app is", "the app is to be", 1)
        if none.code == "no_interface":
            path = runtime["app"]
            none.hint = (
                f"write deploy.yaml yourself: app: NAME, and runtime: {{app: {path}, server: uvicorn or gunicorn}}"
            )
        if none.code == "no_app":
            none.hint = (
                "deploy init --app module:attribute, or --command 'PROGRAM … $PORT' for one that serves by itself"
            )
        raise


def _alone(folder: Path, app: str) -> str:
    """Return the folder of an app that can be deployed from there; "" where that is `folder` itself."""
    part = part_of(folder, app)
    return part.folder if part and not part.outside else ""


def _require_usable(folder: Path, command: str) -> None:
    """An error for a command that no instance could serve with."""
    if not re.search(r"\$(PORT\b|\{PORT\})", command):
        raise UsageError(
            f"--command {command!r} does not use $PORT, so deploy could not reach it",
            hint=f"deploy init --command {shlex.quote(f'{command} … $PORT')}: by the server's own option for its port",
        )
    own = own_command(folder, read_requirements(folder).scripts, command)
    if own:
        raise SettingsError(not_installed(own.name), hint=f"deploy init --command {shlex.quote(own.instead)}")


def _of_size(sized: Scale, inferred: Inferred, runtime: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`runtime` with a size's server and workers, and a remark for each key of the Procfile's that gives way.

    UsageError for a command, whose workers are its own.
    """
    if inferred.target is None:
        raise UsageError("--scale is for an app that deploy starts a server for", hint="leave --scale or --command out")
    server = sized.servers[inferred.target.interface]
    decided = {"server": server, "workers": sized.workers}
    remarks = [
        f"Procfile: --scale sets {key}: {value} in place of web's {runtime[key]}"
        for key, value in decided.items()
        if runtime.get(key, value) != value
    ]
    unfit = [] if server == "gunicorn" else ["worker_class"]
    if server == "uvicorn" and runtime.get("server", server) != server:
        unfit += ["args", "timeout"]
    remarks += [
        f"Procfile: web's {key} {flow(runtime[key])} is left out: the size's server {server} does not take it"
        for key in unfit
        if key in runtime
    ]
    return {**{key: value for key, value in runtime.items() if key not in unfit}, **decided}, remarks
