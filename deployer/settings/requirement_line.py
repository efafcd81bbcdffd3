"""Lines of requirements files that name something elsewhere: a repository as editable, a file at a URL."""

from __future__ import annotations

import re

_EDITABLE = re.compile(r"^\s*(?:-e\s*|--editable[\s=]\s*)(?P<url>(?:git|hg|svn|bzr)\+\S+)\s*(?P<rest>;.*)?$")
_FRAGMENT = re.compile(r"(?:^|&)egg=(?P<name>[^&]+)")
_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(place: str) -> bool:
    """Return whether an include or a constraint names a URL, which pip and uv fetch, and not a file of the project."""
    return _URL.match(place) is not None


def from_editable(line: str) -> str | None:
    """Return an editable line for a repository, as the requirement that installs the same code; None for any other
    line.

    Example: `-e git+https://host/lib.git@1.2#egg=lib` gives `lib @ git+https://host/lib.git@1.2`.
    """
    match = _EDITABLE.match(line)
    if match is None:
        return None
    url, _, fragment = match["url"].partition("#")
    named = _FRAGMENT.search(fragment)
    others = "&".join(part for part in fragment.split("&") if part and not part.startswith("egg="))
    place = url + (f"#{others}" if others else "")
    marker = f" {match['rest']}" if match["rest"] else ""
    return f"{named['name']} @ {place}{marker}" if named else f"{place}{marker}"
