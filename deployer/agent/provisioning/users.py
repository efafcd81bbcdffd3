"""The host's users: whether they exist, making system users, and which ids own a path."""

from __future__ import annotations

import grp
import os
import pwd

from deployer.agent.model.resources import User
from deployer.agent.operation import OpError
from deployer.agent.system import process_runner


def exists(name: str) -> bool:
    """Whether the host knows a user of that name."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def create(user: User) -> None:
    """Makes a system user with a group of its name, without a password or a login shell.

    Raises:
        OpError `failed`: not root, or useradd refused.
    """
    if os.geteuid() != 0:
        raise OpError("failed", f"making the user {user.name} needs root", "connect as root, or allow sudo")
    argv = ["useradd", "--system", "--user-group", "--home-dir", user.home, "--no-create-home"]
    done = process_runner.run([*argv, "--shell", "/usr/sbin/nologin", user.name], timeout=60)
    if not done.ok and not exists(user.name):
        raise OpError("failed", f"the user {user.name} could not be made: {done.why}", log=done.log())


def owner_of(owner: str, group: str) -> tuple[int, int] | None:
    """uid and gid for a path; None where the agent is not root and everything is its own.

    Empty `owner`: the agent's own user. Empty `group`: that user's own. Raises KeyError for a name that is unknown.
    """
    if os.geteuid() != 0:
        return None
    uid, gid = os.geteuid(), os.getegid()
    if owner:
        entry = pwd.getpwnam(owner)
        uid, gid = entry.pw_uid, entry.pw_gid
    if group:
        gid = grp.getgrnam(group).gr_gid
    return uid, gid
