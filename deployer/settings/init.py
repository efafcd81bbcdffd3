"""What `deploy init` writes: the few lines of `deploy.yaml` that cannot be inferred, and a first inventory."""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deployer.errors import SettingsError, UsageError
from deployer.settings import procfile
from deployer.settings.infer import Inferred, Reason, infer
from deployer.settings.inference.choice import AmbiguousAppError
from deployer.settings.load import FILE, shown
from deployer.settings.models import Settings
from deployer.settings.proposal import reasons
from deployer.settings.scale import Scale, Size, scale

_INVENTORY = """\
# The hosts of {env}. Replace the name by that of your server; more hosts go below it.
web:
  hosts:
    web1.example.com:       # a name or an address that ssh reaches
      ansible_user: root    # the user you log in as
# A load balancer before several hosts:
# balancers: {{hosts: {{lb1.example.com: {{}}}}}}
"""


@dataclass(frozen=True)
class Asked:
    """What the command line says beside the folder: the app or the command to serve, and the size to begin with."""

    app: str | None = None
    command: str | None = None
    size: Size | None = None


@dataclass(frozen=True)
class Proposal:
    """What is to be written, absolute path → content, and why: the choices, and words about the size."""

    files: dict[Path, str]
    reasons: tuple[Reason, ...]
    remarks: tuple[str, ...] = ()


def propose(folder: Path, env: str = "prod", asked: Asked | None = None) -> Proposal:
    """The files to write for the app in `folder`. Nothing is written.

    An inventory of `env` that is already there is kept and not among them. Raises: SettingsError when deploy.yaml is
    there, when the folder has no app, or when several could be meant, with what to type.
    """
    folder = folder.absolute()
    path = folder / FILE
    if path.exists():
        raise SettingsError(
            "is already there, and is not overwritten", file=shown(path), hint="edit it, or remove it first"
        )
    asked = asked or Asked()
    text, inferred, remarks = _settings(folder, asked)
    files = {path: text}
    inventories = folder / "inventories"
    sized = scale(asked.size) if asked.size else None
    if not any(one.stem == env or one.name == env for one in inventories.glob("*")):
        files[inventories / f"{env}.yaml"] = (sized.inventory if sized else _INVENTORY).format(env=env)
    return Proposal(files, reasons(folder, inferred, sized=sized is not None), remarks)


def write(folder: Path, env: str = "prod", asked: Asked | None = None) -> Proposal:
    """Writes what `propose` gives and returns it. A file that appeared in between is not overwritten."""
    proposal = propose(folder, env, asked)
    for path, content in proposal.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            raise SettingsError("is already there, and is not overwritten", file=shown(path)) from None
        except OSError as problem:
            raise SettingsError(f"cannot be written: {problem.strerror}", file=shown(path)) from None
    return proposal


def _settings(folder: Path, asked: Asked) -> tuple[str, Inferred, tuple[str, ...]]:
    """The text of deploy.yaml, what it leaves to be inferred, and those of its comments that are to be said as well."""
    app = app_name(folder)
    lines = [f"app: {app}", f"domains: [{app}.example.com]    # replace: the names that your users type"]
    told = procfile.read(folder)
    remarks = list(told.remarks)
    said = {"app": asked.app, "command": asked.command}
    runtime: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    note = ""
    sized = scale(asked.size) if asked.size else None
    loud: list[str] = []
    of_web = dict(told.runtime) if asked.command is None else {}
    if sized and "command" in of_web:
        loud.append(f"Procfile: web's command is left out, since the size decides the server: {of_web['command']}")
        of_web = {}
    if of_web:
        try:
            inferred = _inferred(folder, app, {**of_web, **runtime})
            runtime, note = {**of_web, **runtime}, "    # as web in the Procfile"
        except AmbiguousAppError:
            raise
        except SettingsError as refused:
            remarks.append(f"web is left out: {refused.message}")
            inferred = _inferred(folder, app, runtime)
    else:
        inferred = _inferred(folder, app, runtime)
    if sized:
        runtime, overruled = _of_size(sized, inferred, runtime)
        inferred = _inferred(folder, app, runtime)
        loud = [sized.why, f"today: {sized.today}", *loud, *overruled]
        note = note and f"{note}, but for the size"
    lines += [f"# {remark}" for remark in loud]
    if runtime:
        lines.append(f"runtime: {_flow(runtime)}{note}")
    if sized and sized.instances > 1:
        lines.append(f"instances: {sized.instances}    # on each host")
    if inferred.missing:
        lines.append(f"python: {{with: [{', '.join(inferred.missing)}]}}    # the server, which your requirements lack")
    migrate = told.release or _migration(folder)
    if migrate:
        lines.append(f"hooks: {{release: {_flow(migrate)}}}    # once, before the first wave")
    if told.processes:
        lines.append("processes:    # as in the Procfile")
    for name, process in told.processes.items():
        why = told.whys.get(name)
        lines.append(f"  {name}: {_flow(process)}" + (f"    # {why}" if why else ""))
    lines += [f"# Procfile: {remark}" for remark in remarks]
    return "\n".join(lines) + "\n", inferred, tuple(loud)


def _inferred(folder: Path, app: str, runtime: dict[str, Any]) -> Inferred:
    """What the code tells with these keys of `runtime`. The ways out are words of this command, not of a file."""
    try:
        settings = Settings.model_validate({"app": app, "runtime": runtime})
    except ValidationError as wrong:
        first = wrong.errors()[0]
        option = f"--{first['loc'][-1]}" if first["loc"][-1] in ("app", "command") else "init"
        raise UsageError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None
    try:
        found = infer(folder, settings)
        if found.refused:
            raise found.refused
        return found
    except AmbiguousAppError as several:
        several.hint = f"deploy init --app '{several.candidates[0]}', or another of them"
        raise
    except SettingsError as none:
        if none.message.startswith("runtime.app is "):
            none.message = none.message.replace("runtime.app is", "the app is to be", 1)
        if none.code == "no_interface":
            path = runtime["app"]
            none.hint = (
                f"write deploy.yaml yourself: app: {app}, and runtime: {{app: {path}, server: uvicorn or gunicorn}}"
            )
        if none.code == "no_app":
            none.hint = (
                "deploy init --app module:attribute, or --command 'PROGRAM … $PORT' for one that serves by itself"
            )
        raise


def _of_size(sized: Scale, inferred: Inferred, runtime: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`runtime` with a size's server and workers, and a remark for each key of the Procfile's that gives way.

    UsageError for a command, whose workers are its own.
    """
    if inferred.target is None:
        raise UsageError("--scale is for an app that deploy starts a server for", hint="leave --scale or --command out")
    server = sized.servers[inferred.target.interface]
    decided = {"server": server, "workers": sized.workers}
    said = [
        f"Procfile: the size has {key}: {value} in place of web's {runtime[key]}"
        for key, value in decided.items()
        if runtime.get(key, value) != value
    ]
    unfit = [] if server == "gunicorn" else ["worker_class"]
    if server == "uvicorn" and runtime.get("server", server) != server:
        unfit += ["args", "timeout"]
    said += [
        f"Procfile: web's {key} {_flow(runtime[key])} is left out: the size's server {server} does not take it"
        for key in unfit
        if key in runtime
    ]
    return {**{key: value for key, value in runtime.items() if key not in unfit}, **decided}, said


def _flow(value: Any) -> str:
    """A value of YAML on one line; text in quotes where it is more than plain words."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./+ -]*(:[A-Za-z0-9_.]+)?", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def app_name(folder: Path) -> str:
    """A valid app name from the project's name in pyproject.toml, else from the folder's."""
    name = folder.absolute().name
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("project")
        if isinstance(project, dict) and isinstance(project.get("name"), str):
            name = project["name"]
    except (OSError, ValueError):
        pass
    letters = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    plain = re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")
    plain = re.sub(r"^[^a-z]+", "", plain)[:31].strip("-")
    return plain or "app"


def _migration(folder: Path) -> str | None:
    if (folder / "alembic.ini").is_file():
        return "alembic upgrade head"
    return "python manage.py migrate --no-input" if (folder / "manage.py").is_file() else None
