"""uv's cache on a host: on the file system of the virtualenvs, so that they link to it, and bounded."""

from __future__ import annotations

import os
import stat

from deployer.agent.model.layout import Site
from deployer.agent.system import process_runner

_LARGEST = 1 << 30  # bytes that nothing but the cache has; beyond that it is emptied
_TIMEOUT = 120.0  # seconds, also to wait for another uv that is using it


def path(site: Site) -> str:
    """Its folder: one for all apps of the host where links can lead there, else one in the site's own state."""
    shared, own = site.host_state + "/cache/uv", site.state + "/cache/uv"
    for folder in (site.host_state, os.path.dirname(site.host_state)):
        if os.path.isdir(folder):
            same = os.stat(folder).st_dev == os.stat(site.root).st_dev
            return shared if same and os.access(folder, os.W_OK) else own
    return own


def bound(site: Site, uv: str) -> bool:
    """Empties the cache of what came from indexes, if it is too large; whether it was. Wheels built here stay."""
    folder = path(site)
    if _weight(folder) <= _LARGEST:
        return False
    env = {"HOME": os.path.expanduser("~"), "PATH": os.defpath, "UV_CACHE_DIR": folder, "LANG": "C.UTF-8"}
    return process_runner.run([uv, "cache", "prune", "--ci", "--quiet"], timeout=_TIMEOUT, env=env).ok


def _weight(folder: str) -> int:
    """Bytes on the disk that no virtualenv shares."""
    total = 0
    for _, _, names, fd in os.fwalk(folder, follow_symlinks=False):
        for name in names:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # a uv at work
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                total += status.st_blocks * 512
    return total
