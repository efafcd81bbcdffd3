"""Names at the top of a release: deploy's own are refused in the source, all others are the app's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from release_site import FILES, Host

from deployer.agent.model import layout
from deployer.agent.model import manifest as own
from deployer.agent.operation import OpError
from deployer.artifact import manifest
from deployer.errors import SettingsError, UsageError
from deployer.runtimes import access_log, gunicorn
from deployer.settings.models import Settings

FIRST, SECOND, THIRD = (f"2024010{day}T000000Z-aaaaaaaa" for day in (1, 2, 3))
OURS = (
    *(layout.MARKER, layout.COMMANDS, layout.STATIC_NAMES, layout.WWW, layout.WITHIN, own.NAME, own.RUN),
    *(gunicorn.CONFIG, access_log.LOG_CONFIG),
)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host").set_up()


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_name_of_ours_in_the_source_is_refused_with_what_to_do(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "folder":
        (tmp_path / name).mkdir()
        (tmp_path / name / "inner").touch()
    elif kind == "file":
        (tmp_path / name).touch()
    else:
        (tmp_path / name).symlink_to("elsewhere")
    with pytest.raises(UsageError, match="deploy itself puts") as caught:
        manifest.scan(tmp_path)
    assert name in str(caught.value) and "source: {exclude:" in str(caught.value.hint)
    assert manifest.scan(tmp_path, (name,)).files == {}


@pytest.mark.parametrize("name", ["manifest.json", "runner", ".deploy", "deploy-within", "static/run", "a/.deploy-www"])
def test_other_names_are_the_apps_own(host: Host, name: str) -> None:
    assert host.push(FIRST, {**FILES, name: "of the app"})["built"]
    assert host.read(FIRST, name) == "of the app"
    assert host.push(SECOND, {**FILES, name: "of the app"})["reused"] == len(FILES) + 1


def test_files_of_a_release_that_an_earlier_version_built_are_reused(host: Host) -> None:
    host.push(FIRST)
    folder = Path(host.site.release(FIRST))
    folder.chmod(0o755)
    (folder / own.NAME).rename(folder / own.OLD_NAME)
    assert host.push(SECOND, {**FILES, "manifest.json": "of the app"})["reused"] == len(FILES)
    assert host.push(THIRD, {**FILES, "manifest.json": "of the app"})["reused"] == len(FILES) + 1


@pytest.mark.parametrize("made", [".deploy-static.json/x", ".deploy-www/static/x", ".deploy-www"])
def test_what_a_hook_puts_at_names_of_the_static_files_gives_way(host: Host, made: str) -> None:
    hook = {"command": f"mkdir -p $(dirname {made}) && echo hook > {made}", "timeout": 20}
    static = {"url": "/static/", "dir": "static"}
    host.push(FIRST, {**FILES, "static/a.css": "a"}, static=static, prepare=hook)
    assert host.read(FIRST, ".deploy-www/static/a.css") == "a"
    assert json.loads(host.read(FIRST, ".deploy-static.json"))["dir"] == "static"


def test_a_hook_cannot_have_our_list_written_through_a_link(host: Host, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of root")
    hook = {"command": f"ln -s {victim} .deploy-static.json", "timeout": 20}
    host.push(FIRST, {**FILES, "static/a.css": "a"}, static={"url": "/static/", "dir": "static"}, prepare=hook)
    assert victim.read_text() == "of root"


def settings(**given: object) -> Settings:
    return Settings.model_validate({"app": "shop", **given})


@pytest.mark.parametrize(
    ("shared", "why"),
    [
        (["media/", "media/up/"], "media/up/ lies in media/"),
        (["media/up/", "media/"], "media/up/ lies in media/"),
        (["media", "media/"], "is repeated"),
        (["x" * 300], "more than 255 bytes"),
        (["a/" + "é" * 200], "more than 255 bytes"),
        (["a/" * 1600 + "b"], "too long"),
        (["run"], "deploy itself puts"),
        ([".venv/lib"], "deploy itself puts"),
        ([".deploy-www/"], "deploy itself puts"),
        (["."], "not a plain relative path"),
        (["a//b"], "not a plain relative path"),
    ],
)
def test_shared_paths_that_no_release_can_have_are_refused_in_the_settings(shared: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        settings(shared=shared)


def test_a_file_of_the_source_above_a_shared_path_is_named(tmp_path: Path, host: Host) -> None:
    (tmp_path / "media").write_text("a file")
    files = manifest.scan(tmp_path)
    with pytest.raises(SettingsError, match="shared: media/up/ lies below media, which is a file"):
        manifest.require_room_for_shared(["data/", "media/up/"], files)
    manifest.require_room_for_shared(["media", "other/media/"], files)
    with pytest.raises(OpError, match="lies below the file 'media'") as caught:
        host.push(FIRST, {"media": "a file"}, shared=["media/up/"])
    assert caught.value.code == "invalid"


@pytest.mark.parametrize("shared", ["media/", "media/up/", "deep/er/media/"])
def test_a_link_of_the_app_that_leads_nowhere_stops_no_push(host: Host, shared: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can tell the app's links from its own")
    kept = Path(host.site.shared)
    top = kept / shared.split("/")[0]
    kept.mkdir()
    top.symlink_to("/nonexistent/elsewhere")
    assert host.push(FIRST, shared=[shared])["built"]
    assert (kept / shared).is_dir() and not top.is_symlink()
    assert any("led nowhere" in line or "where nothing is" in line for line in host.lines())


def test_a_link_that_leads_somewhere_is_left_and_nothing_is_made_behind_it(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "disk"
    outside.mkdir()
    Path(host.site.shared).mkdir()
    (Path(host.site.shared) / "media").symlink_to(outside)
    assert host.push(FIRST, shared=["media/"])["built"]
    assert host.push(SECOND, shared=["media/up/"])["built"]
    assert os.listdir(outside) == [] and (Path(host.site.shared) / "media").is_symlink()


def test_a_file_where_a_shared_folder_belongs_is_one_clear_error(host: Host) -> None:
    Path(host.site.shared).mkdir()
    (Path(host.site.shared) / "media").write_text("a file")
    with pytest.raises(OpError, match=r"shared/media is a file, and shared: in deploy.yaml needs a folder") as caught:
        host.push(FIRST, shared=["media/"])
    assert caught.value.code == "invalid" and caught.value.hint


@pytest.mark.parametrize("pattern", ["[z-a]", "[9-0]x", "a/[b-a]"])
def test_an_exclude_pattern_that_is_not_valid_is_refused_in_the_settings(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a valid pattern"):
        settings(source={"exclude": [pattern]})
