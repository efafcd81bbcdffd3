"""Requirement files as the user wrote them: includes followed, options separated from requirements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import SettingsError
from deployer.settings.dependencies.requirements_file import is_url, read_lines

_INCLUDE = re.compile(r"-r|--requirement")
_CONSTRAINT = re.compile(r"^(?:-c\s*|--constraint[\s=]\s*)(?P<path>\S+)$")
_SELF = re.compile(r"^(?:-e\s*|--editable[\s=]\s*)?\.(?:\[(?P<extras>[^\]]*)\])?$")
_LOCAL = re.compile(r"^(?:-e\b|--editable\b|\.{0,2}/|file:)")


@dataclass(frozen=True)
class Requirements:
    """`lines` are requirements, `options` the `--index-url`s and their like; `own` is the project itself, with extras.

    An include or a constraint at a URL is one of the `lines`. `hashed` tells that every line carries a hash: then the
    file is complete, and nothing is to be resolved.
    """

    lines: tuple[str, ...]
    options: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    own: tuple[str, ...] | None = None

    @property
    def hashed(self) -> bool:
        """Every requirement carries a hash."""
        return bool(self.lines) and all("--hash" in line for line in self.lines)

    @property
    def text(self) -> str:
        """The file, includes written out."""
        return "".join(line + "\n" for line in (*self.options, *self.lines))


def read(file: Path) -> Requirements:
    """Return a requirements file and all that it includes. SettingsError names a missing include or a local path."""
    lines: list[str] = []
    options: list[str] = []
    constraints: list[str] = []
    own: tuple[str, ...] | None = None
    for path, line in read_lines(file):
        itself, limit = _SELF.match(line), _CONSTRAINT.match(line)
        if itself:
            own = tuple(part.strip() for part in (itself["extras"] or "").split(",") if part.strip())
        elif (limit and is_url(limit["path"])) or _INCLUDE.match(line):
            lines.append(line)  # at a URL: pip and uv fetch it while they resolve
        elif limit:
            constraints += [constraint for _, constraint in read_lines(path.parent / limit["path"])]
        elif _LOCAL.match(line):
            raise SettingsError(
                f"{line} names a file or folder of this machine",
                file=path.name,
                hint="publish it, or move its code into the project",
            )
        else:
            (options if line.startswith("-") else lines).append(line)
    return Requirements(tuple(lines), tuple(dict.fromkeys(options)), tuple(constraints), own)


def files(file: Path) -> tuple[Path, ...]:
    """Return a requirements file and all that it includes, constraints too, as absolute paths.

    Raises as `read` does.
    """
    seen: set[Path] = set()
    for path, line in list(read_lines(file, seen)):
        limit = _CONSTRAINT.match(line)
        if limit and not is_url(limit["path"]):
            list(read_lines(path.parent / limit["path"], seen))
    return tuple(sorted(seen))
