"""Dependencies: whatever the tree says becomes pinned texts, the same for every host of a kind."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from deployer.artifact.dependencies import lockfiles, python, requirements, resolving
from deployer.artifact.dependencies.host_python import HostPython, choose_installer
from deployer.artifact.dependencies.wheels import wheelhouse
from deployer.artifact.kept_versions import KeptAnswer, KeptVersions
from deployer.errors import NotReadyError, SettingsError
from deployer.settings.models import Python

DEBIAN = HostPython("/usr/bin/python3.11", "3.11.2", "cpython", "cpython-311", "x86_64", "glibc 2.36", "pip")
OLD = dataclasses.replace(DEBIAN, version="3.9.2", path="/usr/bin/python3.9")
ALPINE = dataclasses.replace(DEBIAN, libc="musl", arch="aarch64")
LOCK = """
version = 1
revision = 3
requires-python = ">=3.9"
[[package]]
name = "shop"
version = "1"
source = { virtual = "." }
dependencies = [
    { name = "web", extra = ["fast"] },
    { name = "split", version = "1", source = { registry = "r" }, marker = "python_full_version < '3.10'" },
    { name = "split", version = "2", source = { registry = "r" }, marker = "python_full_version >= '3.10'" },
    { name = "windows-only", marker = "sys_platform == 'win32'" },
    { name = "ours" },
]
[package.optional-dependencies]
pg = [{ name = "driver" }]
[package.dev-dependencies]
dev = [{ name = "linter" }]
ops = [{ name = "tool" }]
[[package]]
name = "web"
version = "3"
source = { registry = "https://x/simple" }
dependencies = [{ name = "ring" }]
sdist = { url = "https://x/web.tar.gz", hash = "sha256:aa", size = 1 }
wheels = [{ url = "https://x/web.whl", hash = "sha256:bb", size = 1 }]
[package.optional-dependencies]
fast = [{ name = "speed" }]
[[package]]
name = "ring"
version = "1"
source = { registry = "https://x/simple" }
dependencies = [{ name = "web" }]
[[package]]
name = "speed"
version = "1"
source = { git = "https://x/speed?rev=main#0123abc" }
[[package]]
name = "split"
version = "1"
source = { registry = "https://x/simple" }
resolution-markers = ["python_full_version < '3.10'"]
[[package]]
name = "split"
version = "2"
source = { registry = "https://x/simple" }
resolution-markers = ["python_full_version >= '3.10'"]
[[package]]
name = "windows-only"
version = "1"
source = { registry = "https://x/simple" }
[[package]]
name = "driver"
version = "1"
source = { registry = "https://x/simple" }
[[package]]
name = "linter"
version = "1"
source = { registry = "https://x/simple" }
[[package]]
name = "tool"
version = "1"
source = { registry = "https://x/simple" }
[[package]]
name = "ours"
version = "1"
source = { editable = "libs/ours" }
dependencies = [{ name = "driver" }]
"""


def names(text: str) -> set[str]:
    return {line.split(" ")[0].rstrip("\\") for line in text.splitlines() if not line.startswith(" ")}


def test_a_uv_lock_becomes_exactly_what_this_host_needs() -> None:
    made = lockfiles.uv_lock(LOCK, "shop", DEBIAN.markers)
    assert names(made.text) == {"driver==1", "ring==1", "speed", "split==2", "web==3"}
    assert "web==3 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n" in made.text
    assert "speed @ git+https://x/speed@0123abc" in made.text
    assert made.local == ("libs/ours",)
    assert "split==1" in lockfiles.uv_lock(LOCK, "shop", OLD.markers).text
    more = lockfiles.uv_lock(LOCK, "Shop", DEBIAN.markers, ["pg"], ["ops"])
    assert "tool==1" in more.text and "linter" not in more.text


@pytest.mark.parametrize(
    ("content", "extras", "message"),
    [
        (LOCK, ["nope"], "no extra nope"),
        ("version = 2", [], "version 2"),
        ("version = 1\nconflicts = [[1]]", [], "conflicting"),
        ("[", [], "is not valid TOML"),
        ("version = 1", [], "shop occurs 0 times"),
    ],
)
def test_a_lock_that_cannot_be_used_says_why(content: str, extras: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        lockfiles.uv_lock(content, "shop", DEBIAN.markers, extras)


def test_a_pylock_becomes_a_text_with_hashes() -> None:
    content = """
lock-version = "1.0"
[[packages]]
name = "web"
version = "3"
wheels = [{ url = "u", hashes = { sha256 = "aa" } }]
[[packages]]
name = "old"
version = "1"
marker = "python_version < '3.10'"
[[packages]]
name = "vcs"
vcs = { type = "git", url = "https://x/v", commit-id = "abc" }
"""
    assert lockfiles.pylock(content, DEBIAN.markers).text == (
        "web==3 \\\n    --hash=sha256:aa\nvcs @ git+https://x/v@abc\n"
    )
    assert "old==1" in lockfiles.pylock(content, OLD.markers).text


def test_requirement_files_are_read_with_their_includes(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text(
        "# the web\n--extra-index-url https://x/simple\nweb>=3  # fast\n-r more/base.txt\n-c limits.txt\n-e .[pg]\n"
    )
    (tmp_path / "more/base.txt").write_text("base \\\n  ; python_version > '3'\n-r ../requirements.txt\n")
    (tmp_path / "limits.txt").write_text("base<2\n")
    made = requirements.read(tmp_path / "requirements.txt")
    assert made.lines == ("web>=3", "base ; python_version > '3'")
    assert made.options == ("--extra-index-url https://x/simple",)
    assert (made.constraints, made.own, made.hashed) == (("base<2",), ("pg",), False)


@pytest.mark.parametrize("line", ["./libs/x", "-e ../lib", "file:///x.whl", "-r gone.txt"])
def test_what_only_this_machine_has_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(line)
    with pytest.raises(SettingsError):
        requirements.read(tmp_path / "requirements.txt")


def test_the_first_file_that_says_something_counts(tmp_path: Path) -> None:
    assert python.read(tmp_path, Python()).kind == "none"
    project = '[project]\nname = "shop"\ndependencies = ["web"]\noptional-dependencies.pg = ["driver"]\n'
    project += '[dependency-groups]\nops = ["tool", {include-group = "base"}]\nbase = ["ground"]\n'
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / "src").mkdir()
    made = python.read(tmp_path, Python(extras=("pg",), groups=("ops",)))
    assert (made.kind, made.loose) == ("pyproject.toml", ("web", "driver", "tool", "ground"))
    assert made.pythonpath == ("src",)
    (tmp_path / "requirements.txt").write_text("other")
    assert python.read(tmp_path, Python()).kind == "requirements.txt"
    (tmp_path / "uv.lock").write_text(LOCK)
    assert python.read(tmp_path, Python()).kind == "uv.lock"
    assert python.read(tmp_path, Python(installer="none")).kind == "none"


def test_a_locked_project_needs_nobody_to_resolve_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\n')
    (tmp_path / "uv.lock").write_text(LOCK)
    found = python.read(tmp_path, Python())
    made = python.lock(found, DEBIAN, tmp_path / "cache")
    assert isinstance(made, python.Locked)
    assert made.pythonpath == ("libs/ours/src", "libs/ours") and made.origin == "uv.lock"
    spec = made.spec(requires=("uvicorn",), env={"A": "1"}, secrets={"B": "2"})
    assert spec["python"] == "/usr/bin/python3.11" and spec["requires"] == ["uvicorn"]

    keys = {made.key}
    variants = [
        (found, OLD),
        (found, ALPINE),
        (found, dataclasses.replace(DEBIAN, version="3.11.3")),
        (found, dataclasses.replace(DEBIAN, installer="uv")),
        (dataclasses.replace(found, settings=Python(extras=("pg",))), DEBIAN),
    ]
    for dependencies, host in variants:
        other = python.lock(dependencies, host, tmp_path / "cache")
        assert isinstance(other, python.Locked)
        keys.add(other.key)
    assert len(keys) == 1 + len(variants)
    again = python.lock(found, DEBIAN, tmp_path / "elsewhere")
    assert isinstance(again, python.Locked) and again.key == made.key


def test_what_cannot_be_resolved_here_is_resolved_on_a_host_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "find_uv", lambda: None)
    (tmp_path / "requirements.txt").write_text("--index-url https://x/simple\nweb>=3\n")
    found = python.read(tmp_path, Python.model_validate({"with": ("uvicorn",)}))
    question = python.lock(found, ALPINE, tmp_path / "cache")
    assert isinstance(question, python.Unsettled) and "Python of the hosts' kind" in question.why
    assert question.spec["requirements"] == ["--index-url https://x/simple", "web>=3", "uvicorn"]

    made = question.settled("# by pip\nweb==3.1\nuvicorn==0.54\n", "web1")
    assert made.requirements == ("--index-url https://x/simple\nweb==3.1\nuvicorn==0.54\n",)
    assert "web1" in made.origin
    later = python.lock(found, ALPINE, tmp_path / "cache")
    assert isinstance(later, python.Locked) and later.key == made.key and later.origin == "resolved before"


def this_python() -> HostPython:
    import os
    import platform

    version = ".".join(map(str, sys.version_info[:3]))
    libc = os.confstr("CS_GNU_LIBC_VERSION") or "musl"
    abi = str(sysconfig.get_config_var("SOABI"))
    return HostPython(sys.executable, version, sys.implementation.name, abi, platform.machine(), libc, "pip")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels as the only index, for pip and uv alike."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, version, needs in (("tinyweb", "1.0", "tinydep"), ("tinydep", "0.3", ""), ("tinydep", "0.4", "")):
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            info = f"{name}-{version}.dist-info"
            requires = f"Requires-Dist: {needs}\n" if needs else ""
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    return folder


@pytest.mark.parametrize("by", ["uv", "pip"])
def test_loose_requirements_are_resolved_here_with_all_that_they_need(
    tmp_path: Path, index: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "pip":
        monkeypatch.setattr(resolving, "find_uv", lambda: None)
    elif resolving.find_uv() is None:
        pytest.skip("uv is not on this machine")
    (tmp_path / "requirements.txt").write_text("tinyweb\n-c limits.txt\n")
    (tmp_path / "limits.txt").write_text("tinydep<0.4\n")
    made = python.lock(python.read(tmp_path, Python()), this_python(), tmp_path / "cache")
    assert isinstance(made, python.Locked), made.why
    assert sorted(made.requirements[0].split()) == ["tinydep==0.3", "tinyweb==1.0"]
    assert made.origin == f"resolved here by {by}"

    folder = wheelhouse(made, tmp_path / "cache")
    assert sorted(path.name for path in folder.iterdir()) == [
        "tinydep-0.3-py3-none-any.whl",
        "tinyweb-1.0-py3-none-any.whl",
    ]
    assert wheelhouse(made, tmp_path / "cache") == folder
    elsewhere = dataclasses.replace(made, key="other", host=ALPINE)
    assert len(list(wheelhouse(elsewhere, tmp_path / "cache").iterdir())) == 2


def test_what_the_current_release_was_resolved_to_counts_before_this_machines_own_answer(
    tmp_path: Path, index: Path
) -> None:
    (tmp_path / "requirements.txt").write_text("tinyweb\n")
    wanted, cache = python.read(tmp_path, Python()), tmp_path / "cache"
    first = python.lock(wanted, this_python(), cache)
    assert isinstance(first, python.Locked), first.why
    assert first.resolution is not None
    assert "tinydep==0.4" in first.requirements[0] and first.resolution["at"] > 0
    digest = str(first.resolution["digest"])

    other = KeptVersions({digest: KeptAnswer("tinyweb==1.0\ntinydep==0.3\n", 1700000000, "20261101T100000Z-aaaaaaaa")})
    kept = python.lock(wanted, this_python(), cache, kept=other)
    assert isinstance(kept, python.Locked)
    assert kept.requirements == ("tinyweb==1.0\ntinydep==0.3\n",)
    assert kept.resolution == {"digest": digest, "at": 1700000000} and "20261101T100000Z-aaaaaaaa" in kept.origin

    [file] = cache.glob("*.txt")
    file.write_text("tinyweb==1.0\ntinydep==0.2\n")
    remembered = python.lock(wanted, this_python(), cache)
    assert isinstance(remembered, python.Locked) and "tinydep==0.2" in remembered.requirements[0]
    anew = python.lock(wanted, this_python(), cache, kept=dataclasses.replace(other, anew=True))
    assert isinstance(anew, python.Locked) and "tinydep==0.4" in anew.requirements[0]
    assert anew.key == first.key and anew.origin.startswith("resolved here")


def test_packages_beside_a_lock_keep_to_the_versions_of_the_lock(tmp_path: Path, index: Path) -> None:
    (tmp_path / "pylock.toml").write_text('[[packages]]\nname = "tinydep"\nversion = "0.3"\n')
    wanted = Python.model_validate({"with": ("tinyweb",)})
    made = python.lock(python.read(tmp_path, wanted), this_python(), tmp_path / "cache")
    assert isinstance(made, python.Locked), made.why
    assert made.requirements[0] == "tinydep==0.3\n"
    assert sorted(made.requirements[1].split()) == ["tinydep==0.3", "tinyweb==1.0"]


@pytest.mark.skipif(resolving.find_uv() is None, reason="uv is not on this machine")
def test_our_reading_of_a_uv_lock_agrees_with_uv(tmp_path: Path, index: Path) -> None:
    uv = str(resolving.find_uv())
    project = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["tinyweb"]\n'
    (tmp_path / "pyproject.toml").write_text(project)
    subprocess.run([uv, "lock", "-q", "--no-index"], cwd=tmp_path, check=True)
    exported = subprocess.run(
        [uv, "export", "-q", "--frozen", "--no-dev", "--no-emit-project", "--no-header"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    made = lockfiles.uv_lock((tmp_path / "uv.lock").read_text(), "shop", DEBIAN.markers)
    assert names(made.text) == names(exported)


def test_the_installer_is_uv_where_the_host_has_it_or_can_be_given_it() -> None:
    assert choose_installer("auto", "/usr/bin/uv") == "uv"
    assert choose_installer("auto", None) == "pip"
    assert choose_installer("pip", "/usr/bin/uv") == "pip"
    assert choose_installer("auto", None, givable=True) == choose_installer("uv", None, givable=True) == "uv"
    assert choose_installer("pip", None, givable=True) == "pip"
    with pytest.raises(NotReadyError):
        choose_installer("uv", None, "web1")
