"""Static files of kept releases are in all of them, each release answers with its own, and the old ones go in time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from release_site import Host

from deployer.agent.operation import OpError

STATIC = {"url": "/static/", "dir": "static/"}
ONE, TWO, THREE, FOUR = (f"2024010{day}T000000Z-aaaaaaaa" for day in range(1, 5))


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
    push(host, ONE, {"a.1.css": "a1", "deep/er/b.1.js": "b1", "same.css": "old"})
    push(host, TWO, {"a.2.css": "a2", "new/c.2.js": "c2", "same.css": "new"})
    others = {"a.1.css": "a1", "a.2.css": "a2", "deep/er/b.1.js": "b1", "new/c.2.js": "c2"}
    assert files(host, ONE) == {**others, "same.css": "old"}
    assert files(host, TWO) == {**others, "same.css": "new"}
    for release in (ONE, TWO):
        for folder, _, names in os.walk(host.site.release(release) + "/static"):
            assert os.stat(folder).st_mode & 0o777 == 0o555, folder
            assert all(os.stat(f"{folder}/{name}").st_mode & 0o222 == 0 for name in names)


def test_what_came_from_others_goes_with_them(host: Host) -> None:
    for number, release in enumerate((ONE, TWO, THREE), 1):
        push(host, release, {f"{number}.css": str(number)})
    host.call("release.prune", keep=1, protect=[THREE])
    push(host, FOUR, {"4.css": "4"})
    assert set(files(host, FOUR)) == {"3.css", "4.css"}
    assert set(files(host, THREE)) == {"1.css", "2.css", "3.css", "4.css"}


def test_what_the_prepare_hook_collects_counts(host: Host) -> None:
    hook = {"command": "mkdir -p static && echo x > static/$DEPLOY_RELEASE.css", "timeout": 20}
    for number in (ONE, TWO):
        host.push(number, {"app.py": "1"}, static=STATIC, prepare=hook)
    assert set(files(host, ONE)) == set(files(host, TWO)) == {f"{ONE}.css", f"{TWO}.css"}


def test_a_web_server_finds_them_below_their_url(host: Host) -> None:
    host.push(ONE, {"static/a.css": "a"}, static={"url": "/assets/of/shop/", "dir": "static"})
    assert host.read(ONE, ".deploy-www/assets/of/shop/a.css") == "a"


def test_a_release_without_that_folder_is_refused_and_is_not_there(host: Host) -> None:
    with pytest.raises(OpError) as refused:
        host.push(ONE, {"app.py": "1"}, static=STATIC)
    assert refused.value.code == "no_static"
    assert "collectstatic" in refused.value.hint
    assert not os.path.exists(host.site.release(ONE))


def test_names_that_are_a_file_here_and_a_folder_there_are_left(host: Host) -> None:
    push(host, ONE, {"a": "a file", "b/c": "below a folder"})
    push(host, TWO, {"a/d": "below a folder", "b": "a file"})
    assert files(host, ONE) == {"a": "a file", "b/c": "below a folder"}
    assert files(host, TWO) == {"a/d": "below a folder", "b": "a file"}


def test_files_that_not_everybody_may_read_stay_where_they_are(host: Host) -> None:
    hook = {"command": "mkdir -p static && echo x > static/open.css && (umask 077; echo x > static/key)", "timeout": 20}
    host.push(ONE, {"app.py": "1"}, static=STATIC, prepare=hook)
    push(host, TWO, {"2.css": "2"})
    assert set(files(host, TWO)) == {"open.css", "2.css"}
