"""Finding and reading roles: the user's own first, then those that come with the tool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from deployer.errors import SettingsError
from deployer.roles.model import Role, RoleText
from deployer.templating import content

FILE = "role.yaml"
PARTS = frozenset({"web", "balancers"})
_ORDER = ("common", "app", "systemd", "supervisord", "haproxy", "nginx", "caddy", "https")


def load(name: str, search: Sequence[Path] = ()) -> Role:
    """The role of that name.

    Args:
        name: its folder's name.
        search: folders that hold the user's own roles, looked through first.

    Raises:
        SettingsError: there is none, or its `role.yaml` is wrong.
    """
    for folder in (*search, content("roles")):
        if (folder / name / FILE).is_file():
            return read(folder / name)
    raise SettingsError(
        f"unknown role {name}",
        cause="looked in " + ", ".join(str(folder) for folder in (*search, content("roles"))),
        hint=f"write roles/{name}/{FILE}",
    )


def load_all(search: Sequence[Path] = ()) -> list[Role]:
    """Every role there is: the tool's own in the order they build on each other, then the user's by name."""
    names = {
        path.parent.name
        for folder in (*search, content("roles"))
        if folder.is_dir()
        for path in folder.glob("*/" + FILE)
    }
    own = [name for name in _ORDER if name in names]
    return [load(name, search) for name in (*own, *sorted(names - set(_ORDER)))]


def roles_for(
    part: str, groups: Iterable[str], *, supervisor: str, balancer: str, search: Sequence[Path] = ()
) -> list[Role]:
    """The roles of one host.

    Args:
        part: `web` or `balancers`, or another part of the app that the host plays.
        groups: its inventory groups, which `for` may name by patterns; but not those that are called like a part, since
            a host that plays two parts is asked for each.
        supervisor, balancer: the kinds in use, for roles that are only for some (`when`).
        search: folders of the user's own roles.
    """
    names = {part, *(set(groups) - PARTS), "all"}
    used = {"supervisor": supervisor, "balancer": balancer}
    return [
        role
        for role in load_all(search)
        if any(fnmatchcase(name, pattern) for pattern in role.text.for_ for name in names)
        and all(used[key] in kinds for key, kinds in role.text.when.items())
    ]


def read(folder: Path) -> Role:
    """The role in `folder`; SettingsError with file and line when its `role.yaml` is wrong."""
    file = folder / FILE
    try:
        data = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SettingsError(
            "the role is not valid YAML", file=str(file), line=line, cause=str(error.problem)
        ) from error
    except (OSError, ValueError, TypeError, RecursionError, YAMLError) as error:
        raise SettingsError("the role cannot be read", file=str(file), cause=str(error)) from error
    try:
        return Role(name=folder.name, folder=folder, text=RoleText.model_validate(data or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise SettingsError(f"{key}: {first['msg']}", file=str(file), hint="docs/roles.md lists the keys") from error
