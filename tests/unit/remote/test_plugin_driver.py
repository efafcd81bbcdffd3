"""The driver of a balancer that another package adds: what of it is sent, and that the agent finds it on a host."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.plugins import install_toy

from deployer import balancers, runtimes
from deployer.agent.balancer.kinds import DRIVERS
from deployer.errors import SettingsError
from deployer.registry import BALANCERS
from deployer.remote.bundle import bundle
from deployer.remote.plugin_driver import driver_sources
from deployer.runtimes.base import Serving, Target
from deployer.settings.models import Runtime

ON_A_HOST = """
import json, sys, zlib
sources = json.loads(zlib.decompress(sys.stdin.buffer.read()))
space = {"__name__": "deployer.agent.channel.bootstrap"}
exec(sources["channel.bootstrap"], space)
sys.meta_path.insert(0, space["SourceImporter"](sources))
from deployer.agent.balancer.kinds import create_driver
from deployer.agent.operation import OpError
try:
    create_driver({"kind": "toy", "socket": "/nowhere", "pool": "/nowhere"}).servers()
except OpError as error:
    print(error.code, error.message)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy package, installed into a folder of its own."""
    install_toy(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "deploy_toy"]:
        del sys.modules[name]


def sent(kind: str) -> dict[str, str]:
    return dict(json.loads(zlib.decompress(bundle(kind))))


def on_a_host(kind: str, packed: bytes = b"") -> str:
    """What the toy driver does in a Python that has nothing but what a run with such a balancer sends."""
    command = [sys.executable, "-IS", "-c", ON_A_HOST]
    return subprocess.run(
        command, input=packed or bundle(kind), capture_output=True, check=True, timeout=60
    ).stdout.decode()


@pytest.mark.usefixtures("toy")
def test_the_driver_of_another_package_works_from_what_is_sent() -> None:
    assert balancers.get("toy").name == "toy"
    assert on_a_host("toy").startswith("balancer_down the proxy at /nowhere does not answer: ")
    assert on_a_host("haproxy").startswith("unknown_balancer ")


@pytest.mark.usefixtures("toy")
def test_a_driver_for_another_version_of_deploy_is_an_error_that_names_what_it_lacks() -> None:
    modules = sent("toy")
    modules["balancer.plugin_toy.driver"] = modules["balancer.plugin_toy.driver"].replace("def configured", "def other")
    printed = on_a_host("toy", zlib.compress(json.dumps(modules).encode()))
    assert printed == "unusable_driver the driver of the balancer toy has no configured\n"


@pytest.mark.usefixtures("toy")
def test_a_built_in_balancer_sends_only_the_agents_own_modules() -> None:
    assert set(DRIVERS) == set(BALANCERS.built_in) - {"none"}
    assert all(driver_sources(kind) == {} for kind in BALANCERS.built_in)
    assert set(sent("toy")) - set(sent("haproxy")) == {"balancer.plugin_toy.driver", "balancer.plugin_toy.control"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"control.py": "import requests\n"}, "control, line 1 imports requests, which hosts do not have"),
        ({"control.py": "from deployer.errors import DeployError\n"}, "line 1 imports deployer.errors, which hosts"),
        ({"driver.py": "match 1:\n    case 1: pass\n"}, "hosts may have Python 3.9: Pattern matching is"),
        ({"driver.py": None}, "deploy_toy.host has no module driver"),
    ],
)
def test_a_driver_that_could_not_run_on_a_host_is_refused_before_anything_is_sent(
    toy: Path, change: dict[str, str | None], why: str
) -> None:
    for name, text in change.items():
        path = toy / "deploy_toy/host" / name
        path.unlink() if text is None else path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        driver_sources("toy")
    assert why in str(refused.value.cause)


def test_a_balancer_without_a_driver_is_refused(toy: Path) -> None:
    entries = next(toy.glob("*.dist-info/entry_points.txt"))
    entries.write_text(entries.read_text().replace("[deployer.drivers]", "[others]"))
    with pytest.raises(SettingsError, match="toy has no driver") as refused:
        driver_sources("toy")
    assert "entry point toy of the group deployer.drivers" in str(refused.value.hint)


@pytest.mark.usefixtures("toy")
def test_the_server_of_another_package_gives_its_words_and_refuses_what_it_cannot_serve() -> None:
    server = runtimes.get("toy")
    serving = Serving("shop", Target("main:app", "wsgi"), Runtime(server="toy"), "127.0.0.1", 1)
    assert server.refuse(serving) is None
    assert server.command(serving) == (".venv/bin/python", "toy_server.py", "main:app", "127.0.0.1", "$PORT")
    asgi = Serving("shop", Target("main:app", "asgi"), Runtime(server="toy"), "127.0.0.1", 1)
    assert "WSGI apps alone" in str(server.refuse(asgi))
