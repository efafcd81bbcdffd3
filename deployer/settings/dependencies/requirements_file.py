"""Requirements files as pip and uv read them: lines joined, comments gone, includes followed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from deployer.errors import SettingsError
from deployer.settings.project_files import read_text

_INCLUDE = re.compile(r"^(?:-r\s*|--requirement[\s=]\s*)(?P<path>\S+)$")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_TWO_NAMES = re.compile(r"[A-Za-z0-9][\w.-]*(\[[^\]]*\])? [A-Za-z0-9][\w.-]*")
_EDITABLE = re.compile(
    r"""^\s*(?:-e\s*|--editable[\s=]\s*)(?P<quote>["']?)(?:(?P<name>[\w.-]+\s*(?:\[[^\]]*\])?)\s*@\s*)?"""
    r"""(?P<url>(?:git|hg|svn|bzr)\+[^\s"']+)(?P=quote)\s*(?P<rest>;.*)?$"""
)
_FRAGMENT = re.compile(r"(?:^|&)egg=(?P<name>[^&]+)")
_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(place: str) -> bool:
    """Return whether an include or a constraint names a URL, which pip and uv fetch, and not a file of the project."""
    return _URL.match(place) is not None


def read_lines(file: Path, seen: set[Path] | None = None) -> Iterator[tuple[Path, str]]:
    """Yield the lines of a requirements file and of all that it includes, each with its file.

    A repository as editable is given as the requirement that installs the same code; an include at a URL as it is.

    Args:
        seen: files to leave out, as absolute paths; those that are read are added.

    Raises:
        SettingsError: a file is not there or cannot be read, or a line has two names.
    """
    seen = set() if seen is None else seen
    if file.resolve() in seen:
        return
    seen.add(file.resolve())
    text = read_text(file).removeprefix("\ufeff").replace("\\\n", " ")
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"\s+", " ", _COMMENT.sub("", raw)).strip()
        include = _INCLUDE.match(line)
        if include and not is_url(include["path"]):
            other = file.parent / include["path"]
            if not other.is_file():
                raise SettingsError(
                    f"{file.name} names {include['path']}, which does not exist",
                    file=file.name,
                    line=number,
                    hint="is it committed?",
                )
            yield from read_lines(other, seen)
        elif _TWO_NAMES.fullmatch(line):
            raise SettingsError(
                f"{line!r} is not a valid requirement",
                file=file.name,
                line=number,
                hint="write one requirement per line",
            )
        elif line:
            yield file, _from_editable(line) or line


def _from_editable(line: str) -> str | None:
    """Return an editable line for a repository, as the requirement that installs the same code; None for any other
    line.

    Example: `-e git+https://host/lib.git@1.2#egg=lib` gives `lib @ git+https://host/lib.git@1.2`, as does
    `-e "lib @ git+https://host/lib.git@1.2"`.
    """
    match = _EDITABLE.match(line)
    if match is None:
        return None
    url, _, fragment = match["url"].partition("#")
    fragment_name = _FRAGMENT.search(fragment)
    name = (match["name"] or "").strip() or (fragment_name["name"] if fragment_name else "")
    others = "&".join(part for part in fragment.split("&") if part and not part.startswith("egg="))
    place = url + (f"#{others}" if others else "")
    marker = f" {match['rest']}" if match["rest"] else ""
    return f"{name} @ {place}{marker}" if name else f"{place}{marker}"
