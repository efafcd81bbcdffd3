"""Adapters of other packages, which an entry point adds to the built-in ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer import balancers, registry, runtimes, supervisors
from deployer.errors import SettingsError
from deployer.registry import BALANCERS, SERVERS, SUPERVISORS, Named, Names, Registry
from deployer.settings.load import load
from deployer.settings.schema import schema

Get = Callable[[str], Named]

ADAPTERS = """
from deployer.runtimes.base import Runtime
from deployer.runtimes.uvicorn import Uvicorn
from deployer.supervisors.systemd import Systemd

class Server(Uvicorn):
    name = "toy"

class Supervisor(Systemd):
    name = "toy"

class Another(Systemd):
    name = "other"

class Bare:
    name = "bare"

class Unfinished(Runtime):
    name, takes_socket, race, reload_check = "unfinished", False, True, ()
"""
ENTRY_POINTS = """
[deployer.runtimes]
toy = toy_adapters:Server
bare = toy_adapters:Bare
unfinished = toy_adapters:Unfinished
broken = toy_adapters:Missing
[deployer.supervisors]
toy = toy_adapters:Supervisor
systemd = toy_adapters:Another
misnamed = toy_adapters:Another
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with adapters, good and bad ones."""
    (tmp_path / "toy_adapters.py").write_text(ADAPTERS)
    (tmp_path / "toy-1.dist-info").mkdir()
    (tmp_path / "toy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\nVersion: 1\n")
    (tmp_path / "toy-1.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_adapters", raising=False)
    return tmp_path


def settings(folder: Path, text: str) -> Path:
    (folder / "deploy.yaml").write_text("app: shop\n" + text)
    return folder / "deploy.yaml"


@pytest.mark.parametrize(
    ("names", "get"), [(BALANCERS, balancers.get), (SUPERVISORS, supervisors.get), (SERVERS, runtimes.get)]
)
def test_the_names_in_the_settings_are_those_of_the_adapters(names: Names, get: Get) -> None:
    adapters: Registry[Named] = get.__self__  # type: ignore[attr-defined]
    assert adapters.names is names
    assert set(names.built_in) - {"auto", "none"} == {adapter.name for adapter in adapters.own}


@pytest.mark.usefixtures("package")
def test_an_entry_point_adds_an_adapter_and_replaces_no_built_in_one() -> None:
    for adapter in (runtimes.get("toy"), supervisors.get("toy")):
        assert type(adapter).__module__ == "toy_adapters"
    assert supervisors.get("systemd").name == "systemd"


@pytest.mark.usefixtures("package")
def test_settings_and_their_schema_take_the_name_that_a_package_adds(tmp_path: Path) -> None:
    taken = load(settings(tmp_path, "supervisor: toy\nruntime: {server: toy}\n"), "prod").settings
    assert (taken.supervisor, taken.runtime.server) == ("toy", "toy")
    assert schema()["properties"]["supervisor"]["enum"] == ["systemd", "supervisord", "misnamed", "toy"]


def test_without_the_package_its_name_is_refused_with_what_there_is_and_how_to_add_one(tmp_path: Path) -> None:
    for text, line, words in (
        ("balancer: {kind: toy}\n", 2, "balancer.kind must be one of haproxy, nginx, caddy, command, none"),
        ("supervisor: toy\n", 2, "supervisor must be one of systemd, supervisord"),
        ("port: 8000\nruntime: {server: toy}\n", 3, "runtime.server must be one of auto, uvicorn, gunicorn"),
    ):
        with pytest.raises(SettingsError) as refused:
            load(settings(tmp_path, text), "prod")
        assert refused.value.message.startswith(words), refused.value.message
        assert refused.value.line == line
        assert "entry point of the group deployer." in str(refused.value.hint)
    with pytest.raises(SettingsError) as misspelt:
        load(settings(tmp_path, "balancer: {kind: haprox}\n"), "prod")
    assert str(misspelt.value.hint).startswith("did you mean haproxy?")


def test_the_schema_shows_the_built_in_names() -> None:
    properties = schema()["$defs"]["Balancer"]["properties"]
    (kinds,) = (option["enum"] for option in properties["kind"]["anyOf"] if "enum" in option)
    assert kinds == ["haproxy", "nginx", "caddy", "command", "none"]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("get", "name", "words"),
    [
        (runtimes.get, "broken", "the server broken of the package toy-package cannot be loaded from toy_adapters"),
        (runtimes.get, "bare", "the server bare of the package toy-package lacks takes_socket, race, reload_check, "),
        (runtimes.get, "unfinished", "the server unfinished of the package toy-package lacks refuse, "),
        (supervisors.get, "misnamed", "the supervisor misnamed of the package toy-package calls itself 'other'"),
        (runtimes.get, "none", "runtime.server is 'none', but must be one of auto, uvicorn"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_an_error_that_names_its_package(get: Get, name: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        get(name)
    assert refused.value.message.startswith(words)
    assert refused.value.hint


def test_built_in_names_are_taken_without_a_look_at_other_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("entry points were read")

    monkeypatch.setattr(registry, "_entries", refuse)
    load(settings(tmp_path, "supervisor: supervisord\nbalancer: {kind: nginx}\nruntime: {server: gunicorn}\n"), "prod")
    for get, name in ((balancers.get, "nginx"), (supervisors.get, "supervisord"), (runtimes.get, "gunicorn")):
        assert get(name).name == name
    with pytest.raises(AssertionError, match="were read"):
        runtimes.get("toy")
