"""Root makes, changes and removes nothing by a link that the app has put into a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_resource_apply import Host

from deployer.agent.model.resources import Directory, File, Link, Resource
from deployer.agent.operation import OpError
from deployer.agent.system import trusted_path

APP = 65534  # nobody, who has the app's folders here

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    Path(made.site.shared).mkdir(parents=True)
    os.chown(made.site.shared, APP, APP)
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    yield made
    status = (tmp_path / "etc/cron.d").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (0, 0o755), "root's folder is no longer root's"
    assert list((tmp_path / "etc/cron.d").iterdir()) == []


def link(host: Host, name: str) -> None:
    """What the app can do at any moment: a link to root's folder in place of one of its own."""
    path = Path(host.site.shared, name)
    path.symlink_to(host.folder / "etc/cron.d")
    os.chown(path, APP, APP, follow_symlinks=False)


def folder(host: Host, name: str) -> Directory:
    return Directory(path=f"{host.site.shared}/{name}", owner="nobody")


@pytest.mark.parametrize("name", ["media/", "media", "media/up/", "media/up/load", "./media/", "media//up"])
def test_setup_gives_the_app_no_folder_behind_a_link_of_its_own(host: Host, name: str) -> None:
    link(host, "media")
    host.apply(folder(host, name))
    host.apply(folder(host, name), replace=True)


def test_the_folders_of_the_app_are_made_and_then_left_as_they_are(host: Host) -> None:
    host.apply(folder(host, "media/up/"))
    made = Path(host.site.shared, "media/up")
    assert made.stat().st_uid == APP and made.parent.stat().st_uid == APP
    made.chmod(0o700)
    os.chown(made, 0, 0)
    assert host.apply(folder(host, "media/up/"))["changed"] == []
    assert (made.stat().st_uid, made.stat().st_mode & 0o777) == (0, 0o700)


def test_a_link_of_the_app_that_leads_nowhere_gives_way(host: Host) -> None:
    path = Path(host.site.shared, "media")
    path.symlink_to(host.folder / "nowhere")
    os.chown(path, APP, APP, follow_symlinks=False)
    host.apply(folder(host, "media/"))
    assert path.is_dir() and not path.is_symlink() and not (host.folder / "nowhere").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: File(path=path, content="* * * * * root id\n"),
        lambda path: Link(path=path, target="/etc/passwd"),
        lambda path: Directory(path=path),
    ],
    ids=["file", "link", "directory"],
)
def test_nothing_is_written_behind_a_link_in_a_folder_that_others_write(
    host: Host, make: Callable[[str], Resource]
) -> None:
    spool = host.folder / "var/spool"
    spool.mkdir(parents=True)
    os.chown(spool, APP, APP)
    (spool / "own").symlink_to(host.folder / "etc/cron.d")
    resource = make(f"{spool}/own/zz")
    for replace in (False, True):
        assert host.refused(resource, replace=replace).code == "untrusted_link"


def test_a_link_that_only_root_can_have_made_is_followed(host: Host) -> None:
    (host.folder / "srv2").mkdir()
    (host.folder / "data").symlink_to("srv2")
    host.apply(File(path=f"{host.folder}/data/a/b", content="x"))
    assert (host.folder / "srv2/a/b").read_text() == "x"
    host.apply(File(path=f"{host.folder}/data/a/b", content="y"))
    assert (host.folder / "srv2/a/b").read_text() == "y"


def test_a_folder_that_is_swapped_after_the_look_is_the_one_that_was_looked_at(host: Host) -> None:
    shared = Path(host.site.shared)
    (shared / "media").mkdir()
    with trusted_path.held(f"{shared}/media/new") as place:
        (shared / "media").rename(shared / "before")
        link(host, "media")
        Path(place).write_text("x")
    assert (shared / "before/new").read_text() == "x"


def test_links_in_a_circle_end(host: Host) -> None:
    (host.folder / "a").symlink_to("b")
    (host.folder / "b").symlink_to("a")
    with pytest.raises(OpError), trusted_path.held(f"{host.folder}/a/x"):
        pass
