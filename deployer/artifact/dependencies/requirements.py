"""Requirement files as the user wrote them: includes followed, options and requirements told apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import SettingsError
from deployer.settings.requirement_line import from_editable, is_url

_INCLUDE = re.compile(r"^(?:-r\s*|--requirement[\s=]\s*)(?P<path>\S+)$")
_CONSTRAINT = re.compile(r"^(?:-c\s*|--constraint[\s=]\s*)(?P<path>\S+)$")
_SELF = re.compile(r"^(?:-e\s*|--editable[\s=]\s*)?\.(?:\[(?P<extras>[^\]]*)\])?$")
_LOCAL = re.compile(r"^(?:-e\b|--editable\b|\.{0,2}/|file:)")
_COMMENT = re.compile(r"(^|\s+)#.*$")


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
    """A requirements file and all that it includes. SettingsError names a missing include or a local path."""
    lines: list[str] = []
    options: list[str] = []
    constraints: list[str] = []
    own: tuple[str, ...] | None = None
    for path, line in _logical(file, set()):
        itself, limit, repository = _SELF.match(line), _CONSTRAINT.match(line), from_editable(line)
        if repository:
            lines.append(repository)
        elif itself:
            own = tuple(part.strip() for part in (itself["extras"] or "").split(",") if part.strip())
        elif (limit and is_url(limit["path"])) or _INCLUDE.match(line):
            lines.append(line)  # at a URL: pip and uv fetch it while they resolve
        elif limit:
            constraints += [constraint for _, constraint in _logical(path.parent / limit["path"], set())]
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
    """A requirements file and all that it includes, constraints too, as absolute paths. Raises as `read` does."""
    seen: set[Path] = set()
    for path, line in list(_logical(file, seen)):
        limit = _CONSTRAINT.match(line)
        if limit and not is_url(limit["path"]):
            list(_logical(path.parent / limit["path"], seen))
    return tuple(sorted(seen))


def _logical(file: Path, seen: set[Path]) -> Iterator[tuple[Path, str]]:
    """Lines with continuations joined, comments gone and includes followed."""
    if file.resolve() in seen:
        return
    seen.add(file.resolve())
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file.name} cannot be read", cause=str(error), hint="is it committed?") from error
    joined = re.sub(r"\\\r?\n", " ", text)
    for raw in joined.splitlines():
        line = re.sub(r"\s+", " ", _COMMENT.sub("", raw)).strip()
        include = _INCLUDE.match(line)
        if include and not is_url(include["path"]):
            yield from _logical(file.parent / include["path"], seen)
        elif line:
            yield file, line
