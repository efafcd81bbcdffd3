"""What is shipped: a clean checkout of a commit from real git repositories, or any folder."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from deployer.artifact.build_hook import run_build_hook
from deployer.artifact.source import resolve
from deployer.errors import RolloutError, UsageError
from deployer.settings.models import Hook, Source

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"]
    argv = ["git", *identity, "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, files: dict[str, str]) -> str:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, {"app.py": "v1", "services/shop/main.py": "shop", "tests/test_app.py": "t"})
    return folder


def test_head_is_pushed_and_what_is_not_committed_is_named(repo: Path) -> None:
    (repo / "app.py").write_text("half an idea")
    (repo / "new file.py").write_text("x")
    with resolve(Source(), repo) as tree:
        assert (tree.path / "app.py").read_text() == "v1"
        assert tree.dirty == ("app.py", "new file.py")
        assert tree.commit == git(repo, "rev-parse", "HEAD") and tree.ref == "HEAD"
        assert not (tree.path / ".git").exists()
        gone = tree.path
    assert not gone.exists()
    assert git(repo, "worktree", "list").count("\n") == 0


def hostile(repo: Path, entries: list[tuple[str, str, str]]) -> str:
    """Make HEAD a commit whose tree is these (mode, name, object), which git itself would not write."""
    raw = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries)
    argv = ["git", "-C", str(repo), "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    tree = subprocess.run(argv, input=raw, check=True, capture_output=True).stdout.decode().strip()
    made = git(repo, "commit-tree", tree, "-m", "x")
    git(repo, "update-ref", "refs/heads/main", made)
    return made


@pytest.mark.parametrize(
    "kind", ["files below a link", "files below a file", "a parent folder", "git's own folder", "one name twice"]
)
def test_a_tree_that_leads_out_of_the_checkout_writes_nothing(repo: Path, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (repo / "target").symlink_to(outside)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "x")
    link, blob = git(repo, "rev-parse", "HEAD:target"), git(repo, "rev-parse", "HEAD:app.py")
    folder = git(repo, "rev-parse", "HEAD:tests")
    hostile(
        repo,
        {
            "files below a link": [("120000", "lib", link), ("40000", "lib", folder)],
            "files below a file": [("100644", "lib", blob), ("40000", "lib", folder)],
            "a parent folder": [("40000", "..", folder)],
            "git's own folder": [("40000", ".GIT", folder)],
            "one name twice": [("100644", "lib", blob), ("120000", "lib", link)],
        }[kind],
    )
    with pytest.raises(UsageError, match="cannot be checked out") as caught, resolve(Source(), repo):
        pass
    assert str(caught.value.hint).startswith("git fsck") and list(outside.iterdir()) == []


def test_an_error_in_the_checkout_names_the_repository_and_the_commit(repo: Path) -> None:
    (repo / "services" / "out").symlink_to("/etc/passwd")
    made = commit(repo, {"a": "b"})
    for source, folder in ((Source(), repo), (Source(), repo / "services"), (Source(subdir="services"), repo)):
        with pytest.raises(UsageError, match="cannot be shipped") as caught, resolve(source, folder) as tree:
            tree.manifest()
        assert caught.value.file == f"{folder / source.subdir} (commit {made[:12]})"


def test_an_error_in_a_copy_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc/passwd")
    with pytest.raises(UsageError) as caught, resolve(Source(), tmp_path, private=True) as tree:
        tree.manifest()
    assert caught.value.file == str(tmp_path)


def test_any_ref_can_be_pushed(repo: Path) -> None:
    git(repo, "tag", "v1")
    commit(repo, {"app.py": "v2"})
    with resolve(Source(), repo, "v1") as tree:
        assert (tree.path / "app.py").read_text() == "v1"


@pytest.mark.parametrize("ref", ["nowhere", "--output=/tmp/x", "HEAD:app.py"])
def test_a_ref_that_is_no_commit_is_an_error(repo: Path, ref: str) -> None:
    with pytest.raises(UsageError, match="names no commit"), resolve(Source(), repo, ref):
        pass


def test_nothing_committed_yet_says_what_to_type(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(UsageError) as caught, resolve(Source(), tmp_path):
        pass
    assert "git commit" in (caught.value.hint or "")


def test_a_service_in_a_monorepo_is_shipped_alone(repo: Path) -> None:
    with resolve(Source(subdir="services/shop"), repo) as tree:
        assert list(tree.manifest().files) == ["main.py"]
    # the same when deploy.yaml lies there: the work tree begins further up
    (repo / "app.py").write_text("dirty elsewhere")
    with resolve(Source(), repo / "services/shop") as tree:
        assert list(tree.manifest().files) == ["main.py"] and tree.dirty == ()


def test_a_subdir_cannot_lead_out(repo: Path) -> None:
    (repo / "out").symlink_to("/etc")
    commit(repo, {})
    with pytest.raises(UsageError, match="folder out does not exist"), resolve(Source(subdir="out"), repo):
        pass


def test_submodules_come_along_and_a_missing_one_is_named(repo: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    commit(library, {"lib.py": "lib"})
    git(repo, "submodule", "--quiet", "add", str(library), "vendor/library")
    commit(repo, {})
    with resolve(Source(), repo) as tree:
        assert (tree.path / "vendor/library/lib.py").read_text() == "lib"
    git(repo, "submodule", "--quiet", "deinit", "-f", "vendor/library")
    with pytest.raises(UsageError, match="submodule vendor/library") as caught, resolve(Source(), repo):
        pass
    assert "git submodule update" in (caught.value.hint or "")


def test_large_files_that_are_only_pointers_are_named(repo: Path) -> None:
    commit(repo, {"model.bin": LFS, "README": "no pointer"})
    with resolve(Source(), repo) as tree, pytest.raises(UsageError) as caught:
        tree.manifest()
    assert "model.bin" in str(caught.value) and "README" not in str(caught.value)
    with resolve(Source(exclude=("*.bin",)), repo) as tree:
        assert "model.bin" not in tree.manifest().files


def test_export_ignore_is_honoured(repo: Path) -> None:
    commit(repo, {".gitattributes": "tests export-ignore\n"})
    with resolve(Source(), repo) as tree:
        assert "tests/test_app.py" not in tree.manifest().files


def test_a_plain_folder_is_shipped_as_it_is_but_for_what_is_never_wanted(tmp_path: Path) -> None:
    for name in ("app.py", ".venv/bin/python", "__pycache__/a.pyc", "b.pyc", "node_modules/x.js", "tests/t.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with resolve(Source(exclude=("tests/",)), tmp_path) as tree:
        assert (tree.commit, tree.ref, tree.dirty) == (None, None, ())
        assert sorted(tree.manifest().files) == ["app.py", "node_modules/x.js"]
    with pytest.raises(UsageError, match="not a git work tree"), resolve(Source(), tmp_path, "main"):
        pass


@pytest.mark.parametrize("is_git", [True, False])
def test_what_the_build_hook_makes_is_shipped_and_never_lands_in_the_users_folder(repo: Path, is_git: bool) -> None:
    if not is_git:
        subprocess.run(["rm", "-rf", str(repo / ".git")], check=True)
    said: list[str] = []
    with resolve(Source(), repo, private=True) as tree:
        run_build_hook(tree, Hook(command="echo building $MODE; echo js > bundle.js"), {"MODE": "fast"}, said.append)
        assert "bundle.js" in tree.manifest().files
    assert said == ["building fast"] and not (repo / "bundle.js").exists()


def test_a_build_hook_that_fails_or_hangs_stops_the_run(repo: Path) -> None:
    said: list[str] = []
    with resolve(Source(), repo) as tree:
        with pytest.raises(RolloutError) as caught:
            run_build_hook(tree, Hook(command="echo no npm; exit 7"), {}, said.append)
        assert caught.value.code == "build_failed" and caught.value.log == ("no npm",)
        with pytest.raises(RolloutError, match=r"longer than 0.2 s"):
            run_build_hook(tree, Hook(command="sleep 60", timeout=0.2), {}, said.append)


def test_a_build_hook_ends_when_a_person_stops_the_run(repo: Path) -> None:
    stop, lines = threading.Event(), []

    def stop_at_once(line: str) -> None:
        lines.append(line)
        stop.set()

    with resolve(Source(), repo) as tree:
        run_build_hook(tree, Hook(command="echo begun; sleep 200; echo ended", timeout=200), {}, stop_at_once, stop)
    assert lines == ["begun"]


def test_a_build_hook_ends_although_something_that_it_started_goes_on(repo: Path) -> None:
    said: list[str] = []
    with resolve(Source(), repo) as tree:
        run_build_hook(tree, Hook(command="sleep 250 & echo $!; echo build done", timeout=200), {}, said.append)
    os.kill(int(said[0]), signal.SIGKILL)
    assert said[1] == "build done"


def test_a_build_hook_of_several_lines_stops_at_the_first_that_fails(repo: Path) -> None:
    said: list[str] = []
    with resolve(Source(), repo) as tree:
        with pytest.raises(RolloutError) as caught:
            run_build_hook(tree, Hook(command="echo first\nfalse\necho last\n"), {}, said.append)
        assert said == ["first"] and caught.value.cause == "echo first …"
        run_build_hook(tree, Hook(command="false; echo one line\n"), {}, said.append)
    assert said == ["first", "one line"]


LOCAL_SETTINGS = {
    "autocrlf": ("core.autocrlf", "true"),
    "eol": ("core.eol", "crlf"),
    "attributes": ("core.attributesFile", "~/attributes"),
    "symlinks": ("core.symlinks", "false"),
    "modes": ("core.fileMode", "false"),
    "umask": ("tar.umask", "0077"),
}


@pytest.mark.parametrize(
    ("place", "setting"),
    [("repository", "autocrlf"), ("environment", "attributes"), *(("user", setting) for setting in LOCAL_SETTINGS)],
)
def test_no_local_setting_of_git_changes_what_is_shipped(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, place: str
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    commit(library, {"tool.sh": "#!/bin/sh\necho lib\n"})
    commit(repo, {".gitattributes": "*.txt text=auto\n", "bin/tool.sh": "#!/bin/sh\necho\n", "a.txt": "one\ntwo\n"})
    (repo / "link").symlink_to("a.txt")
    git(repo, "submodule", "--quiet", "add", str(library), "vendor/library")
    commit(repo, {})
    with resolve(Source(), repo) as tree:
        expected = tree.manifest().files
    home = tmp_path / "home"
    home.mkdir()
    (home / "attributes").write_text("*.sh text eol=crlf\n* export-ignore\n")
    monkeypatch.setenv("HOME", str(home))
    key, value = LOCAL_SETTINGS[setting]
    if place == "repository":
        git(repo, "config", key, value)
        git(repo / "vendor/library", "config", key, value)
    elif place == "user":
        git(repo, "config", "--global", key, value)
    else:
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", key)
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", value)
    with resolve(Source(), repo) as tree:
        assert tree.manifest().files == expected


def test_a_replaced_commit_is_shipped_as_it_was_made(repo: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    commit(repo, {"app.py": "v2"})
    git(repo, "replace", "HEAD", first)
    with resolve(Source(), repo) as tree:
        assert (tree.path / "app.py").read_text() == "v2"


def test_what_export_ignore_keeps_back_is_named(repo: Path) -> None:
    commit(repo, {".gitattributes": "tests export-ignore\n", "services/shop/.gitattributes": "main.py export-ignore\n"})
    with resolve(Source(), repo) as tree:
        assert tree.left_out == ("services/shop/main.py", "tests/test_app.py")
    with resolve(Source(), repo / "services/shop") as tree:
        assert tree.left_out == ("main.py",)


def test_attributes_of_one_clone_alone_are_named(repo: Path) -> None:
    with resolve(Source(), repo) as tree:
        assert tree.local_attributes is None
    (repo / ".git/info/attributes").write_text("*.sh text eol=crlf\n")
    with resolve(Source(), repo) as tree:
        assert tree.local_attributes == repo / ".git/info/attributes"


def test_gits_own_environment_counts_but_for_what_places_a_repository(
    repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """CI images trust a checkout of another owner by GIT_CONFIG_COUNT; a git hook sets GIT_DIR and its like."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError, match="another user owns it") as caught, resolve(Source(), repo / "services/shop"):
        pass
    assert caught.value.hint == f"git config --global --add safe.directory {repo}"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    subprocess.run(str(caught.value.hint).split(), check=True)
    with resolve(Source(), repo) as tree:
        assert (tree.path / "app.py").exists()
    (tmp_path / "gitconfig").write_text("")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "*")
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repo))
    with resolve(Source(), repo / "services/shop") as tree:
        assert (tree.path / "main.py").exists()


def test_a_git_hook_that_runs_us_does_not_mislead(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    with resolve(Source(), repo) as tree:
        assert os.path.exists(tree.path / "app.py")


def test_a_repository_is_never_shipped_without_git(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (repo / "service").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    for folder in (repo, repo / "service"):
        with pytest.raises(UsageError, match="git is not installed") as refused, resolve(Source(), folder):
            pass
        assert refused.value.file == str(repo / ".git")


@pytest.mark.parametrize("marker", ["empty folder", "lost gitdir", "dangling link", "bad configuration"])
def test_a_repository_that_git_cannot_read_is_not_shipped_as_a_plain_folder(tmp_path: Path, marker: str) -> None:
    (tmp_path / "main.py").write_text("app = 1\n")
    if marker == "empty folder":
        (tmp_path / ".git").mkdir()
    elif marker == "lost gitdir":
        (tmp_path / ".git").write_text("gitdir: ../elsewhere/.git/modules/app\n")
    elif marker == "dangling link":
        (tmp_path / ".git").symlink_to("elsewhere")
    else:
        git(tmp_path, "init", "-q")
        (tmp_path / ".git/config").write_text("[core\n")
    with pytest.raises(UsageError, match="git cannot read") as refused, resolve(Source(), tmp_path):
        pass
    assert refused.value.cause and refused.value.file == str(tmp_path / ".git")


def test_without_git_a_plain_folder_is_shipped_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/main.py").write_text("app = 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with resolve(Source(), tmp_path / "app") as tree:
        assert tree.commit is None and list(tree.manifest().files) == ["main.py"]
