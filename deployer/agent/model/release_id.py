"""Release ids: `<UTC time>-<short content hash>`, such as `20261122T151204Z-9f31c2aa`. Ids sort by age.

Everything else in `releases/` belongs to somebody else: it is never listed, chosen or removed.
"""

from __future__ import annotations

import calendar
import os
import re
import stat
import time
from collections.abc import Iterable

from deployer.agent.model.layout import Site

_TIME = "%Y%m%dT%H%M%SZ"
_ID = re.compile(r"([0-9]{8}T[0-9]{6}Z)-[0-9a-f]{8}\Z")
_HASH_LENGTH = 8
_LAST_YEAR = 9998  # the year after it must have four digits too, or a later id would sort first


def created_at(name: str) -> int | None:
    """The creation time in a release id, in seconds since the epoch; None for a name that is not a release id."""
    match = _ID.match(name)
    if match is None:
        return None
    try:
        moment = time.strptime(match.group(1), _TIME)
    except ValueError:
        return None
    return calendar.timegm(moment) if 1970 <= moment.tm_year <= _LAST_YEAR else None


def is_release_id(name: str) -> bool:
    """Whether a name is a release id."""
    return created_at(name) is not None


def new_release_id(content: str, existing: Iterable[str], now: float | None = None) -> str:
    """Returns an id that sorts after every release id in `existing`; other names there are ignored.

    Args:
        content: the release's content hash in hex.
        existing: names of release folders.
        now: seconds since the epoch; the current time by default.
    """
    newest = max(filter(is_release_id, existing), default="")
    moment = int(time.time() if now is None else now)
    release = _format(moment, content)
    if release > newest:
        return release
    return _format((created_at(newest) or 0) + 1, content)


def list_releases(site: Site) -> list[str]:
    """Ids of the release folders on this host, complete or not, oldest first; empty where they cannot be read."""
    try:
        names = os.listdir(site.releases)
    except OSError:
        return []
    return sorted(name for name in names if is_release_id(name) and _is_folder(site.release(name)))


def _format(moment: int, content: str) -> str:
    return f"{time.strftime(_TIME, time.gmtime(moment))}-{content[:_HASH_LENGTH]}"


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
