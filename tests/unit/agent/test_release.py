"""Releases are made, reused, sealed and retired on a host."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from release_site import FILES, Host, write

from deployer.agent.model.manifest import Entry, Manifest
from deployer.agent.operation import OpError
from deployer.agent.site import ledger
from deployer.agent.system import tree
from deployer.artifact import manifest

OLD, NEW = "20261101T100000Z-aaaaaaaa", "20261102T100000Z-bbbbbbbb"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes owners and mounts file systems")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path).set_up()


def test_a_first_release_is_whole_sealed_and_starts(host: Host) -> None:
    answer = host.push(OLD, files={"static/conf.py": "x = 1"} | FILES, meta={"content": "c1", "commit": "abc"})

    assert answer["built"] and answer["venv_built"] and answer["files"] == 4
    assert host.read(OLD, "static/a.css") == "a{}"
    folder = Path(host.site.release(OLD))
    marker = json.loads(host.read(OLD, ".deploy-release.json"))
    assert (marker["id"], marker["content"], marker["commit"], marker["venv"]) == (OLD, "c1", "abc", "none")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, folder / "app.py", folder / "bin/tool")}
    assert modes == {OLD: 0o555, "app.py": 0o444, "tool": 0o555}
    assert list(folder.glob("__pycache__/app.*.pyc"))
    os.makedirs(host.site.slots, exist_ok=True)
    os.symlink("../releases/" + OLD, host.site.slot(8000))
    started = subprocess.run(
        ["sh", "-c", "cd -P slots/8000 && exec ./run"], cwd=host.site.root, capture_output=True, text=True, check=True
    )
    # neither the slot nor `current` is in what Python remembers
    assert started.stdout.split() == ["serving", str(Path(host.site.venvs) / "none")] or OLD in started.stdout
    assert "slots" not in started.stdout


def test_a_second_release_ships_only_what_changed_and_links_the_rest(host: Host) -> None:
    host.push(OLD)
    answer = host.push(NEW, {**FILES, "static/a.css": "b{}"})

    assert (answer["reused"], len(answer["missing"])) == (2, 1)
    assert host.read(NEW, "static/a.css") == "b{}" and host.read(OLD, "static/a.css") == "a{}"
    old, new = (os.stat(host.site.release(release) + "/app.py") for release in (OLD, NEW))
    assert old.st_ino == new.st_ino
    assert not os.path.exists(host.site.state + "/incoming/" + NEW)


def test_a_file_that_was_tampered_with_is_fetched_again_and_never_linked(host: Host) -> None:
    host.push(OLD)
    victim = Path(host.site.release(OLD), "app.py")
    victim.chmod(0o644)
    victim.write_text("x" * len(FILES["app.py"]))
    victim.chmod(0o444)
    answer = host.push(NEW)

    assert len(answer["missing"]) == 1
    assert host.read(NEW, "app.py") == FILES["app.py"]


def test_the_same_content_with_two_modes_stays_two_files(host: Host) -> None:
    host.push(OLD, {"a.sh": "echo", "bin/a.sh": "echo"})
    host.push(NEW, {"a.sh": "echo", "bin/a.sh": "echo"})

    modes = [os.stat(host.site.release(NEW) + path).st_mode & 0o777 for path in ("/a.sh", "/bin/a.sh")]
    assert modes == [0o444, 0o555]


def test_a_complete_release_is_not_built_again(host: Host) -> None:
    host.push(OLD)
    assert host.push(OLD)["complete"]
    assert host.build(OLD) == {"built": False, "venv_built": False, "seconds": 0.0}


def test_a_host_that_was_never_set_up_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(OpError) as caught:
        Host(tmp_path).push(OLD)
    assert caught.value.code == "not_set_up" and "deploy setup prod" in caught.value.hint


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign", "absent"])
def test_a_damaged_stream_leaves_nothing(host: Host, damage: str) -> None:
    source = write(host.folder / "source", FILES)
    shipped = manifest.scan(source)
    missing = host.call("release.begin", shipped.as_bytes(), release=OLD)["missing"]
    other = Manifest({"x": manifest.scan(write(host.folder / "other", {"x": "other"})).files["x"]})
    stream = {
        "flip": lambda: _flipped(b"".join(manifest.pack(shipped, missing, source))),
        "cut": lambda: b"".join(manifest.pack(shipped, missing, source))[:60],
        "foreign": lambda: b"".join(manifest.pack(other, list(other.blobs()), host.folder / "other")),
        "absent": lambda: b"".join(manifest.pack(shipped, missing[1:], source)),
    }[damage]()
    with pytest.raises(OpError) as caught:
        host.call("release.fill", stream, release=OLD)
    assert caught.value.code == "corrupt"
    assert os.listdir(host.site.state + "/incoming/" + OLD) == [".deploy-manifest.json"]


def _flipped(stream: bytes) -> bytes:
    middle = len(stream) // 2
    return stream[:middle] + bytes([stream[middle] ^ 0xFF]) + stream[middle + 1 :]


def test_content_that_is_not_what_its_name_says_is_refused(host: Host) -> None:
    source = write(host.folder / "source", {"a": "good"})
    shipped = manifest.scan(source)
    host.call("release.begin", shipped.as_bytes(), release=OLD)
    sha = shipped.files["a"].sha256
    evil = write(host.folder / "evil", {"a": "evil"})
    lying = b"".join(manifest.pack(manifest.scan(evil), [manifest.scan(evil).files["a"].sha256], evil))
    renamed = gzip.compress(_renamed(gzip.decompress(lying), sha))
    with pytest.raises(OpError, match="has the hash"):
        host.call("release.fill", renamed, release=OLD)


def _renamed(tar: bytes, name: str) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = 4
    return header.tobuf() + tar[512:]


@pytest.mark.parametrize(
    "files",
    [
        {"../x": Entry(0o644, 1, "0" * 64)},
        {"/etc/x": Entry(0o644, 1, "0" * 64)},
        {"run": Entry(0o644, 1, "0" * 64)},
        {"a": Entry(target="/etc/passwd")},
        {"a/b": Entry(target="../../x")},
        {"a": Entry(target="b/../../x")},
        {"a": Entry(target="b"), "a/c": Entry(0o644, 1, "0" * 64)},
    ],
)
def test_a_manifest_that_leaves_the_release_is_refused(host: Host, files: dict[str, Entry]) -> None:
    with pytest.raises(OpError) as caught:
        host.call("release.begin", Manifest(files).as_bytes(), release=OLD)
    assert caught.value.code == "invalid"


@pytest.mark.parametrize("release", ["..", "a/b", "", ".x", "a\n"])
def test_a_release_id_cannot_leave_the_folder(host: Host, release: str) -> None:
    with pytest.raises(OpError, match="not a release id"):
        host.call("release.discard", release=release)


def test_shared_folders_outlive_releases(host: Host) -> None:
    host.push(OLD, {**FILES, "media/.keep": ""}, shared=["media/", "data/db.sqlite3"])
    release = Path(host.site.release(OLD))
    (release / "media" / "cat.png").write_text("cat")
    (release / "data" / "db.sqlite3").write_text("rows")

    assert os.readlink(release / "media") == "../../shared/media"
    assert Path(host.site.shared, "media/cat.png").read_text() == "cat"
    assert Path(host.site.shared, "data/db.sqlite3").read_text() == "rows"


def test_a_shared_path_without_a_slash_is_what_the_host_has_or_what_the_push_says(host: Host) -> None:
    host.push(OLD, shared=["data", "local.py"], shared_folders=["data"])
    shared, release = Path(host.site.shared), Path(host.site.release(OLD))
    assert (shared / "data").is_dir() and not os.path.lexists(shared / "local.py")
    (release / "data/db.sqlite3").touch()
    (release / "local.py").touch()
    assert (shared / "data/db.sqlite3").is_file() and (shared / "local.py").is_file()
    (shared / "notes").touch()
    host.push(NEW, shared=["data", "local.py", "notes"], shared_folders=["notes"])
    assert (Path(host.site.release(NEW)) / "notes").is_file()
    with pytest.raises(OpError) as caught:
        host.push("20261103T100000Z-cccccccc", shared=["notes/"])
    assert "needs a folder there" in caught.value.message


def test_shared_paths_that_are_new_get_what_the_source_has_once(host: Host) -> None:
    files = {**FILES, "media/a.png": "1", "media/sub/b.png": "1", "local.py": "X = 1\n"}
    args = {"shared": ["media/", "local.py"], "shared_folders": ["media"]}
    (Path(host.site.shared) / "media").mkdir(parents=True)  # as setup leaves it
    host.push(OLD, files, **args)
    shared = Path(host.site.shared)
    assert {path: (shared / path).read_text() for path in ("media/a.png", "media/sub/b.png", "local.py")} == {
        "media/a.png": "1",
        "media/sub/b.png": "1",
        "local.py": "X = 1\n",
    }
    (shared / "media/sub/b.png").unlink()
    (shared / "local.py").write_text("X = 2\n")
    host.push(NEW, {**files, "media/a.png": "2", "media/c.png": "2"}, **args)
    assert sorted(path.name for path in (shared / "media").rglob("*")) == ["a.png", "sub"]
    assert (shared / "media/a.png").read_text() == "1" and (shared / "local.py").read_text() == "X = 2\n"


def test_the_first_content_of_a_shared_path_follows_no_link(host: Host, tmp_path: Path) -> None:
    files = {**FILES, "media/sub/b.png": "1", "local.py": "X = 1\n"}
    outside = tmp_path / "outside"
    outside.mkdir()
    shared = Path(host.site.shared)
    shared.mkdir(parents=True)
    (shared / "media").symlink_to(outside)
    (shared / "local.py").symlink_to(outside / "local.py")
    host.push(OLD, files, shared=["media", "local.py"], shared_folders=["media"])
    assert os.listdir(outside) == []


def test_a_prepare_hook_writes_into_its_own_release_only(host: Host) -> None:
    host.push(OLD)
    command = "echo more >> app.py && echo $DEPLOY_RELEASE > static/made && ln -s $PWD/static/a.css static/absolute"
    host.push(NEW, prepare={"command": command, "timeout": 30})

    assert host.read(OLD, "app.py") == FILES["app.py"]
    assert host.read(NEW, "app.py").endswith("more\n")
    assert host.read(NEW, "static/made") == NEW + "\n"
    assert host.read(NEW, "static/absolute") == "a{}"  # what it linked by its own path still holds
    assert json.loads(host.read(NEW, ".deploy-manifest.json"))["files"]["static/made"]["size"] == len(NEW) + 1
    assert not os.access(host.site.release(NEW) + "/static/made", os.W_OK) or os.geteuid() == 0


def test_bytecode_is_compiled_without_running_a_line_of_the_release(host: Host, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    code = f"open({str(proof)!r}, 'a').write(__name__)\n"
    modules = ("compileall", "sitecustomize", "usercustomize", "struct", "queue", "importlib", "concurrent", "app")
    host.push(NEW, {f"{name}.py": code for name in modules}, env={"PYTHONPATH": ".", "PYTHONSTARTUP": "app.py"})
    assert not proof.exists()
    assert len(list(Path(host.site.release(NEW)).glob("__pycache__/*.pyc"))) == len(modules)


def test_a_failing_prepare_hook_leaves_no_release_and_shows_its_last_words(host: Host) -> None:
    host.call("secrets.write", b"export KEY='hunter2hunter2'\n")
    with pytest.raises(OpError) as caught:
        host.push(NEW, prepare={"command": "echo no table for $KEY >&2; exit 3"})
    assert caught.value.code == "prepare_failed"
    assert caught.value.log == ["no table for •••"] == host.lines()
    assert not os.path.exists(host.site.release(NEW))


def test_a_prepare_hook_of_several_lines_stops_at_the_first_that_fails_and_says_what_it_printed(host: Host) -> None:
    with pytest.raises(OpError) as caught:
        host.push(NEW, prepare={"command": "echo collecting\nfalse\necho done\n"})
    assert caught.value.code == "prepare_failed" and host.lines() == ["collecting"]
    printed = [event for event in host.events if event["event"] == "output"]
    assert [event["step"] for event in printed] == ["prepare hook"]


def test_an_app_that_cannot_be_imported_is_found_before_anything_changes(host: Host) -> None:
    check = {"argv": [".venv/bin/python", "-c", "import app, nowhere"], "timeout": 30}
    with pytest.raises(OpError) as caught:
        host.push(NEW, check=check)
    assert caught.value.code == "check_failed"
    assert "No module named 'nowhere'" in caught.value.log[-1]
    assert not os.path.exists(host.site.release(NEW))


@root_only
def test_the_apps_user_may_write_while_preparing_and_not_afterwards(tmp_path: Path) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    host = Host(tmp_path, user="nobody").set_up()
    host.call("secrets.write", b"export KEY='s3cret'\n")
    command = "id -un > who; mkdir sub; touch sub/x; (umask 077; echo $KEY > private); echo x >> app.py"
    check = {"argv": ["/bin/sh", "-c", "! touch who && ! touch new && cat private | grep s3cret"]}
    host.push(NEW, shared=["media/"], prepare={"command": command}, check=check)

    release = Path(host.site.release(NEW))
    assert host.read(NEW, "who") == "nobody\n"
    owners = {path.stat().st_uid for path in (release, *(release / name for name in ("who", "sub", "sub/x", "static")))}
    assert owners == {0}
    private = (release / "private").stat()
    assert private.st_uid != 0 and private.st_mode & 0o777 == 0o400
    assert Path(host.site.shared, "media").stat().st_uid != 0
    assert Path(host.site.secrets).stat().st_mode & 0o777 == 0o600


@root_only
def test_a_full_disk_is_said_with_figures_and_the_partial_release_is_gone(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    options = ["-o", "size=48m", "tmpfs", str(mount)]
    if subprocess.run(["mount", "-t", "tmpfs", *options], check=False).returncode != 0:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        host = Host(mount).set_up()
        host.folder = tmp_path
        with pytest.raises(OpError) as caught:
            host.push(OLD, {"big": "x" * (40 << 20)})
        assert caught.value.code == "no_space" and caught.value.detail["needed"] >= 40 << 20
        fill = {"command": "dd if=/dev/zero of=filler bs=1M count=100"}
        with pytest.raises(OpError):
            host.push(OLD, prepare=fill)
        assert not os.path.exists(host.site.release(OLD))
        small = write(tmp_path / "source", {"a": "x" * (6 << 20)})
        shipped = manifest.scan(small)
        begun = host.call("release.begin", shipped.as_bytes(), release=OLD)
        (mount / "hog").write_bytes(b"x" * (os.statvfs(mount).f_bavail * 4096 - (1 << 20)))
        with pytest.raises(OpError) as caught:
            host.call("release.fill", manifest.pack(shipped, begun["missing"], small), release=OLD)
        assert caught.value.code == "no_space"
        assert not os.path.exists(host.site.state + "/incoming/" + OLD)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_pruning_keeps_what_anything_needs(host: Host) -> None:
    names = [f"2026110{day}T100000Z-{day}{'a' * 7}" for day in range(1, 8)]
    for name in names:
        host.push(name)
        if name != names[5]:  # a push that failed: complete, never proven
            ledger.append(host.site, {"event": "current", "release": name, "run": "r", "via": "push"})
    os.symlink("releases/" + names[6], host.site.current)
    os.makedirs(host.site.slots, exist_ok=True)
    os.symlink("../releases/" + names[0], host.site.slot(8000))
    (Path(host.site.releases) / "notes-of-a-person").mkdir()
    lives = subprocess.Popen([sys.executable, "-c", "input()"], cwd=host.site.release(names[1]), stdin=subprocess.PIPE)
    try:
        would = host.call("release.prune", keep=2, protect=[names[2]], weigh=True, dry_run=True)
        assert set(names) <= set(os.listdir(host.site.releases)), "it only looks"
        removed = host.call("release.prune", keep=2, protect=[names[2]])["removed"]
        assert removed == would["removed"] == [names[3], names[5]]
        with pytest.raises(OpError, match=f"process {lives.pid}"):
            host.call("release.discard", release=names[1])
    finally:
        lives.communicate(b"\n")
    assert host.call("release.discard", release=names[1]) == {"removed": True}
    assert "notes-of-a-person" in os.listdir(host.site.releases)


def test_pruning_says_what_it_gives_back_and_shared_files_give_nothing(host: Host) -> None:
    big, kept = "x" * (1 << 20), {"key": "kept", "python": sys.executable, "installer": "none"}
    host.push(OLD, {**FILES, "own": "y" * (2 << 20), "both": big})
    host.push(NEW, {**FILES, "both": big}, venv=kept)
    would = host.call("release.prune", keep=1, protect=[NEW], weigh=True, dry_run=True)
    assert would["removed"] == [OLD] and would["venvs"] == ["none"]
    assert 2 << 20 <= would["bytes"] < 3 << 20
    assert host.call("release.prune", keep=1, protect=[NEW], weigh=True) == would
    assert os.listdir(host.site.releases) == [NEW] and os.listdir(host.site.venvs) == ["kept"]


def test_a_release_in_use_is_not_cleared_away_even_if_its_marker_is_lost(host: Host) -> None:
    host.push(OLD)
    os.symlink("releases/" + OLD, host.site.current)
    Path(host.site.release(OLD)).chmod(0o755)
    os.unlink(host.site.marker(OLD))
    with pytest.raises(OpError) as caught:
        host.push(OLD)
    assert caught.value.code == "in_use" and host.read(OLD, "app.py")


def test_pruning_takes_virtualenvs_that_nothing_links_to(host: Host) -> None:
    host.push(OLD, venv={"key": "old", "python": sys.executable, "installer": "none"})
    host.push(NEW, venv={"key": "new", "python": sys.executable, "installer": "none"})
    ledger.append(host.site, {"event": "current", "release": NEW, "run": "r", "via": "push"})

    assert host.call("release.prune", keep=1, protect=[]) == {"removed": [OLD], "venvs": ["old"], "failed": {}}
    assert os.listdir(host.site.venvs) == ["new"]


def test_removing_a_tree_never_follows_a_link_out_of_it(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"keep": "me"})
    inside = write(tmp_path / "inside", {"a/b": "x"})
    (inside / "a" / "out").symlink_to(outside)
    (inside / "a").chmod(0o555)
    assert tree.remove(str(inside))
    assert (outside / "keep").read_text() == "me"


def _immutable(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Has the system refuse to remove the folders of that name, as it does for a mount point."""
    rmtree = shutil.rmtree

    def refuse(path: str) -> None:
        if os.path.basename(path) in names:
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", refuse)


def test_pruning_goes_on_past_what_cannot_be_removed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"2026110{day}T100000Z-{day}{'a' * 7}" for day in range(1, 5)]
    for name in names:
        host.push(name)
    ledger.append(host.site, {"event": "current", "release": names[3], "run": "r", "via": "push"})
    _immutable(monkeypatch, names[1])
    pruned = host.call("release.prune", keep=1, protect=[], weigh=True)
    stuck = host.site.release(names[1])
    assert pruned["removed"] == [names[0], names[2]] and pruned["failed"] == {stuck: "Device or resource busy"}
    assert not os.path.exists(host.site.marker(names[1])), "what is left of it must not pass for complete"


def test_removing_an_app_names_what_cannot_be_removed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.push(OLD)
    host.push(NEW)
    _immutable(monkeypatch, OLD)
    with pytest.raises(OpError, match=f"{OLD}: Device or resource busy") as caught:
        host.call("belongings.remove", run="r", who="me")
    assert caught.value.code == "not_removed" and os.listdir(host.site.releases) == [OLD]


@pytest.mark.parametrize(
    "command, path",
    [
        ("rm -rf .venv", ".venv"),
        ("rm .venv; mkdir -p .venv/bin; printf '#!/bin/sh' > .venv/bin/python; chmod +x .venv/bin/python", ".venv"),
        ("rm .venv; ln -s /usr .venv", ".venv"),
        ("rm -f run", "run"),
        ("rm conf/own.py; ln -s /etc/passwd conf/own.py", "conf/own.py"),
        ("rm media; mkdir media", "media"),
        ('chmod -R u+w "$PWD"; rm -rf "$PWD"', ".venv, conf/own.py, media, run"),
    ],
)
def test_a_prepare_hook_that_replaces_what_deploy_made_fails_by_name(host: Host, command: str, path: str) -> None:
    source, own = write(host.folder / "source", FILES), {"conf/own.py": "x = 1"}
    with pytest.raises(OpError, match=f"the prepare hook removed or replaced {path} in the new release") as caught:
        host.ship(NEW, source, files=own, shared=["media/"], prepare={"command": command})
    assert caught.value.code == "prepare_failed" and "hooks.prepare" in caught.value.hint
    assert not os.path.exists(host.site.release(NEW))
