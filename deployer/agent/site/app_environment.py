"""How a command of the app's is run: in its release, with its virtualenv, environment, secrets and user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping, Sequence

from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHORTEST_SECRET = 4  # characters; replacing shorter ones would garble every line


def owner(site: Site) -> tuple[int, int]:
    """uid and gid of the app's user; the agent's own where it is not root. OpError `no_user` if there is none."""
    if os.geteuid() != 0 or not site.user:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(site.user)
    except KeyError:
        raise OpError("no_user", f"this host has no user {site.user}", f"type deploy setup {site.env}") from None
    return entry.pw_uid, entry.pw_gid


def environment(site: Site, release: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of a command in a release, without secrets.

    Args:
        release: the release's id; its `.venv/bin` comes first in PATH.
        extra: the app's own variables; they win, but for PATH, which is put behind the virtualenv's.
    """
    uid, _ = owner(site)
    entry = pwd.getpwuid(uid)
    venv = site.release(release) + "/.venv"
    fixed = {
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": venv,
        "DEPLOY_APP": site.app,
        "DEPLOY_ENV": site.env,
        "DEPLOY_RELEASE": release,
    }
    path = extra.get("PATH", _PATH)
    return {**fixed, **extra, "PATH": path if path.startswith(venv + "/bin:") else venv + "/bin:" + path}


def with_secrets(site: Site, argv: Sequence[str]) -> list[str]:
    """`argv` behind a shell that reads the secrets of the site first; they appear in no argument list."""
    read = '. "$0" && ' if os.path.exists(site.secrets) else ""
    return ["/bin/sh", "-c", "umask 022; " + read + 'exec "$@"', site.secrets, *argv]


class Redactor:
    """Takes secret values out of lines that others will see."""

    def __init__(self, values: Iterable[str]) -> None:
        pieces = {line for value in values for line in value.splitlines() if len(line) >= _SHORTEST_SECRET}
        self._values = sorted(pieces, key=len, reverse=True)

    def __call__(self, line: str) -> str:
        """The line with `•••` in place of every secret value."""
        for value in self._values:
            line = line.replace(value, "•••")
        return line
