"""A write that a read-only release refused: the hint names the path and `shared:`."""

from __future__ import annotations

import pytest
from support.topologies import topology

from deployer.errors import RolloutError
from deployer.rollout.run.unwritable import hint_for

RELEASE = "/srv/shop/releases/20261101T100000Z-aaaaaaaa"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            f"OSError: [Errno 30] Read-only file system: '{RELEASE}/media/a.png'",
            "write shared: [media/] in deploy.yaml",
        ),
        ("OSError: [Errno 30] Read-only file system: 'media/up/a.png'", "shared: [media/up/]"),
        ("PermissionError: [Errno 13] Permission denied: '/srv/shop/current/log.txt'", "shared: [log.txt]"),
        ("touch: cannot touch 'cache/x': Read-only file system", "shared: [cache/]"),
        ("sh: 2: cannot create /srv/shop/slots/8000/run/x: Read-only file system", "shared: [run/]"),
        ("sqlite3.OperationalError: unable to open database file", "shared: [data/]"),
        ("sqlite3.OperationalError: attempt to write a readonly database", "shared: [data/]"),
        (
            "PermissionError: [Errno 13] Permission denied: '/srv/shop/shared/media/b'",
            "chown -Rh shop: /srv/shop/shared",
        ),
    ],
)
def test_the_hint_names_what_is_to_be_shared(line: str, says: str) -> None:
    error = RolloutError("the release hook failed: exit status 1", log=["Traceback …", line])
    hint = hint_for(error, topology(1))
    assert says in hint and ("deploy push prod" in hint or "deploy exec prod" in hint)


@pytest.mark.parametrize(
    "line",
    [
        "PermissionError: [Errno 13] Permission denied: '/etc/shadow'",
        "OSError: [Errno 30] Read-only file system: '/opt/x'",
        "git@github.com: Permission denied (publickey).",
        "sh: 1: ./tool.sh: Permission denied",
        "KeyError: 'DATABASE_URL'",
    ],
)
def test_other_failures_keep_their_hint(line: str) -> None:
    assert hint_for(RolloutError("the release hook failed", log=[line]), topology(1)) == ""


def test_a_database_in_shared_that_another_user_owns_is_given_to_the_app() -> None:
    error = RolloutError(
        "the release hook failed", log=["sqlite3.OperationalError: attempt to write a readonly database"]
    )
    assert "chown -Rh shop: /srv/shop/shared" in hint_for(error, topology(1, shared=["data/"]))
