"""What `deploy init` writes: the few lines of `deploy.yaml` that cannot be inferred, and a first inventory."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from deployer.errors import SettingsError
from deployer.settings import procfile
from deployer.settings.infer import infer
from deployer.settings.inference.choice import AmbiguousAppError
from deployer.settings.load import FILE, shown
from deployer.settings.models import Settings

_INVENTORY = """\
# The hosts of {env}. Replace the name by that of your server; more hosts go below it.
web:
  hosts:
    web1.example.com:       # a name or an address that ssh reaches
      ansible_user: root    # the user you log in as
# A load balancer before several hosts:
# balancers: {{hosts: {{lb1.example.com: {{}}}}}}
"""


def propose(folder: Path, env: str = "prod") -> dict[Path, str]:
    """The files to write for the app in `folder`: absolute path → content. Nothing is written.

    An inventory of `env` that is already there is kept and not among them. Raises: SettingsError when deploy.yaml is
    there, or when the folder has no app.
    """
    folder = folder.absolute()
    path = folder / FILE
    if path.exists():
        raise SettingsError(
            "is already there, and is not overwritten", file=shown(path), hint="edit it, or remove it first"
        )
    files = {path: _settings(folder)}
    inventories = folder / "inventories"
    if not any(one.stem == env or one.name == env for one in inventories.glob("*")):
        files[inventories / f"{env}.yaml"] = _INVENTORY.format(env=env)
    return files


def write(folder: Path, env: str = "prod") -> tuple[Path, ...]:
    """Writes what `propose` gives and returns the paths. A file that appeared in between is not overwritten."""
    files = propose(folder, env)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            raise SettingsError("is already there, and is not overwritten", file=shown(path)) from None
        except OSError as problem:
            raise SettingsError(f"cannot be written: {problem.strerror}", file=shown(path)) from None
    return tuple(files)


def _settings(folder: Path) -> str:
    app = app_name(folder)
    lines = [f"app: {app}", f"domains: [{app}.example.com]    # replace: the names that your users type"]
    told = procfile.read(folder)
    runtime: dict[str, Any] = dict(told.runtime)
    remarks = list(told.remarks)
    note = "as web in the Procfile"
    try:
        inferred = infer(folder, Settings.model_validate({"app": app, "runtime": runtime}))
    except AmbiguousAppError as several:
        first, *others = several.candidates
        runtime["app"], note = first, f"also found: {', '.join(others)}"
        inferred = infer(folder, Settings.model_validate({"app": app, "runtime": runtime}))
    except SettingsError as refused:
        if not runtime:
            raise
        remarks.append(f"web is left out: {refused.message}")
        runtime = {}
        inferred = infer(folder, Settings(app=app))
    if runtime:
        lines.append(f"runtime: {_flow(runtime)}    # {note}")
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
    return "\n".join(lines) + "\n"


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
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    plain = re.sub(r"^[^a-z]+", "", plain)[:31].strip("-")
    return plain or "app"


def _migration(folder: Path) -> str | None:
    if (folder / "alembic.ini").is_file():
        return "alembic upgrade head"
    return "python manage.py migrate --no-input" if (folder / "manage.py").is_file() else None
