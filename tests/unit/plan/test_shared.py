"""What `shared:` means for a tree, and where a database of SQLite is warned about."""

from __future__ import annotations

import pytest
from support.topologies import topology

from deployer.plan.shared_folders import sqlite, tree


@pytest.mark.parametrize(
    ("asked", "files", "folders"),
    [
        ("data", (), ["data"]),
        ("data/", (), ["data"]),
        ("db.sqlite3", (), []),
        (".cache", (), [".cache"]),
        ("data/seed.db", (), []),
        ("v1.2", ("v1.2/file",), ["v1.2"]),
        ("LICENSE", ("LICENSE",), []),
        ("media/", ("media/a.png", "mediatheque/b"), ["media"]),
    ],
)
def test_a_shared_path_is_a_folder_by_the_tree_and_else_by_its_name(
    asked: str, files: tuple[str, ...], folders: list[str]
) -> None:
    assert tree.folders([asked], files) == folders


def test_what_is_not_shipped_is_named_and_placeholders_are_not() -> None:
    files = ["app.py", "data/seed.db", "media/.gitkeep", "settings_local.py"]
    [remark] = tree.remarks(["media/", "data/seed.db", "settings_local.py"], files)
    assert "not shipped" in remark and ": data/seed.db, settings_local.py." in remark
    assert tree.remarks(["media"], files) == []
    [long] = tree.remarks(["media"], [f"media/{number}.png" for number in range(8)])
    assert "media/4.png and 3 more" in long


POSTGRES = {"DATABASE_URL": "postgresql+psycopg://db/shop"}


@pytest.mark.parametrize(
    ("hosts", "env", "in_code", "secrets", "says"),
    [
        (2, {}, "settings.py:80", {}, "settings.py:80 keeps the database in a file of SQLite, but there are 2 hosts"),
        (2, {"DATABASE_URL": "sqlite:///data/db.sqlite3"}, "", {}, "env.DATABASE_URL in deploy.yaml keeps"),
        (2, {}, "", {"DB": "sqlite+aiosqlite:////srv/db"}, "the secret DB keeps"),
        (1, {}, "settings.py:80", {}, "write shared: [data/] in deploy.yaml"),
        (2, {}, "settings.py:80", POSTGRES, ""),
        (2, POSTGRES, "settings.py:80", {}, ""),
        (2, {}, "", {}, ""),
    ],
)
def test_sqlite_is_warned_about_where_it_costs_data(
    hosts: int, env: dict[str, str], in_code: str, secrets: dict[str, str], says: str
) -> None:
    shape = topology(hosts, env=env)
    found = sqlite.remarks(shape, in_code, secrets)
    assert (says in found[0]) if says else found == []
    assert "srv/db" not in "".join(found), "a secret is not shown"


def test_sqlite_on_one_host_in_a_shared_folder_is_fine() -> None:
    assert sqlite.remarks(topology(1, shared=("data/",)), "settings.py:80", {}) == []
