"""Static files of kept releases are in all of them, each release answers with its own, and the old ones go in time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from release_site import Host

from deployer.agent.operation import OpError

STATIC = {"url": "/static/", "dir": "static/"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path).set_up()


def files(host: Host, release: str) -> dict[str, str]:
    root = Path(host.site.release(release), "static")
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def push(host: Host, release: str, static: dict[str, str], **more: Any) -> None:
    given = {"app.py": "1", **{f"static/{name}": text for name, text in static.items()}}
    host.push(release, given, **{"static": STATIC, **more})


def test_each_kept_release_has_the_files_of_all_others(host: Host) -> None:
    push(host, "1", {"a.1.css": "a1", "deep/er/b.1.js": "b1", "same.css": "old"})
    push(host, "2", {"a.2.css": "a2", "new/c.2.js": "c2", "same.css": "new"})
    others = {"a.1.css": "a1", "a.2.css": "a2", "deep/er/b.1.js": "b1", "new/c.2.js": "c2"}
    assert files(host, "1") == {**others, "same.css": "old"}
    assert files(host, "2") == {**others, "same.css": "new"}
    for release in "12":
        for folder, _, names in os.walk(host.site.release(release) + "/static"):
            assert os.stat(folder).st_mode & 0o777 == 0o555, folder
            assert all(os.stat(f"{folder}/{name}").st_mode & 0o222 == 0 for name in names)


def test_what_came_from_others_goes_with_them(host: Host) -> None:
    for number in "123":
        push(host, number, {f"{number}.css": number})
    host.call("release.prune", keep=1, protect=["3"])
    push(host, "4", {"4.css": "4"})
    assert set(files(host, "4")) == {"3.css", "4.css"}
    assert set(files(host, "3")) == {"1.css", "2.css", "3.css", "4.css"}


def test_what_the_prepare_hook_collects_counts(host: Host) -> None:
    hook = {"command": "mkdir -p static && echo x > static/$DEPLOY_RELEASE.css", "timeout": 20}
    for number in "12":
        host.push(number, {"app.py": "1"}, static=STATIC, prepare=hook)
    assert set(files(host, "1")) == set(files(host, "2")) == {"1.css", "2.css"}


def test_a_web_server_finds_them_below_their_url(host: Host) -> None:
    host.push("1", {"static/a.css": "a"}, static={"url": "/assets/of/shop/", "dir": "static"})
    assert host.read("1", ".deploy-www/assets/of/shop/a.css") == "a"


def test_a_release_without_that_folder_is_refused_and_is_not_there(host: Host) -> None:
    with pytest.raises(OpError) as refused:
        host.push("1", {"app.py": "1"}, static=STATIC)
    assert refused.value.code == "no_static"
    assert "collectstatic" in refused.value.hint
    assert not os.path.exists(host.site.release("1"))


def test_names_that_are_a_file_here_and_a_folder_there_are_left(host: Host) -> None:
    push(host, "1", {"a": "a file", "b/c": "below a folder"})
    push(host, "2", {"a/d": "below a folder", "b": "a file"})
    assert files(host, "1") == {"a": "a file", "b/c": "below a folder"}
    assert files(host, "2") == {"a/d": "below a folder", "b": "a file"}


def test_files_that_not_everybody_may_read_stay_where_they_are(host: Host) -> None:
    hook = {"command": "mkdir -p static && echo x > static/open.css && (umask 077; echo x > static/key)", "timeout": 20}
    host.push("1", {"app.py": "1"}, static=STATIC, prepare=hook)
    push(host, "2", {"2.css": "2"})
    assert set(files(host, "2")) == {"open.css", "2.css"}
