"""Who owns what lies in `shared/`: another `user:`, or another uid of it, leaves files that the app may not write."""

from __future__ import annotations

import os
import pwd
import time
from collections import deque
from typing import TYPE_CHECKING

from deployer.agent.model.layout import Site
from deployer.agent.system import port_owners, procfs

if TYPE_CHECKING:
    from deployer.agent.model.messages.host import ForeignPaths

_LOOK_S = 0.05  # until the first foreign path, nearest to the top first
_COUNT_S = 2.0


def foreign_paths(site: Site) -> ForeignPaths | None:
    """`{count, complete, users, example}` of the paths in `shared/` that are neither the app's user's nor root's.

    None where there are none, the user does not exist, or this agent is not root. `complete` is false where the count
    was ended after two seconds. `users` are uids as text.
    """
    uid = _uid(site.user)
    if uid is None or site.prefix or os.geteuid() != 0:
        return None
    began, count, users, example = time.monotonic(), 0, set(), ""
    folders: deque[str] = deque([site.shared])
    complete = True
    if _is_foreign(site.shared, uid):
        count, example = 1, site.shared
        users.add(os.lstat(site.shared).st_uid)
    while folders:
        if time.monotonic() - began > (_COUNT_S if count else _LOOK_S):
            complete = False
            break
        try:
            entries = list(os.scandir(folders.popleft()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            if _is_foreign(entry.path, uid):
                count, example = count + 1, example or entry.path
                users.add(os.lstat(entry.path).st_uid)
    if not count:
        return None
    return {"count": count, "complete": complete, "users": sorted(map(str, users)), "example": example}


def is_used_by(site: Site, uid: int) -> bool:
    """Whether a process of a release runs as that user right now."""
    return any(port_owners.release_of(site, pid) is not None and _runs_as(pid) == uid for pid in procfs.pids())


def _runs_as(pid: int) -> int | None:
    try:
        return os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return None


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _is_foreign(path: str, uid: int) -> bool:
    try:
        return os.lstat(path).st_uid not in (0, uid)
    except OSError:
        return False
