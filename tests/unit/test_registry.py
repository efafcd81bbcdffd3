"""Adapters of third parties, installed as a package with an entry point."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer import balancers, runtimes, supervisors
from deployer.errors import SettingsError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, one of which adds a balancer, a runtime and a supervisor called `toy`."""
    (tmp_path / "toy_adapters.py").write_text('class Toy:\n    name = "toy"\n\nclass Systemd:\n    name = "other"\n')
    (tmp_path / "toy-1.dist-info").mkdir()
    (tmp_path / "toy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (tmp_path / "toy-1.dist-info" / "entry_points.txt").write_text(
        "[deployer.balancers]\ntoy = toy_adapters:Toy\n[deployer.runtimes]\ntoy = toy_adapters:Toy\n"
        "[deployer.supervisors]\ntoy = toy_adapters:Toy\nsystemd = toy_adapters:Systemd\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("package")
def test_an_entry_point_adds_an_adapter_and_replaces_no_built_in_one() -> None:
    for adapter in (balancers.get("toy"), runtimes.get("toy"), supervisors.get("toy")):
        assert type(adapter).__name__ == "Toy"
    assert supervisors.get("systemd").name == "systemd"


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="there is no balancer 'toy'") as refused:
        balancers.get("toy")
    assert refused.value.hint == "balancer.kind is one of haproxy, nginx, caddy, command"
    with pytest.raises(SettingsError, match="there is no server 'toy'"):
        runtimes.get("toy")
