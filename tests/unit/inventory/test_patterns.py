"""Host patterns and the parts of an environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.errors import InventoryError
from deployer.inventory.load import load
from deployer.inventory.model import Inventory
from deployer.inventory.parts import parts
from deployer.inventory.patterns import select
from deployer.settings.models import Settings

TEXT = """
web: {hosts: {"web[1:4].example.com": {}}}
eu: {hosts: {web1.example.com: {}, web3.example.com: {}, lb1: {}}}
balancers: {hosts: {lb1: {}}}
workers: {hosts: {w1: {}}}
"""


def made(folder: Path, text: str = TEXT) -> Inventory:
    path = folder / "prod.yaml"
    path.write_text(text)
    return load("prod", folder, path)


def short(hosts: Any) -> str:
    return " ".join(host.name.removesuffix(".example.com") for host in hosts)


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("all", "web1 web2 web3 web4 lb1 w1"),
        ("*", "web1 web2 web3 web4 lb1 w1"),
        ("web", "web1 web2 web3 web4"),
        ("w1,lb1", "lb1 w1"),
        ("w1:lb1", "lb1 w1"),
        ("web:&eu", "web1 web3"),
        ("&eu:web", "web1 web3"),
        ("web:!eu", "web2 web4"),
        ("!eu,web", "web2 web4"),
        ("!web", "lb1 w1"),
        ("web:&eu:!web3.example.com", "web1"),
        ("web*.example.com", "web1 web2 web3 web4"),
        ("*1*", "web1 lb1 w1"),
        ("web?.example.com", "web1 web2 web3 web4"),
        ("~web[13]\\.", "web1 web3"),
        ("~(lb|w)1$", "lb1 w1"),
        ("web[0]", "web1"),
        ("web[-1]", "web4"),
        ("web[-2]", "web3"),
        ("web[1:2]", "web2 web3"),
        ("web[1-2]", "web2 web3"),
        ("web[2:]", "web3 web4"),
        ("web[0:1]:lb1", "web1 web2 lb1"),
        ("b*", "lb1"),
        ("*[0]", "web1"),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, hosts: str) -> None:
    assert short(select(made(tmp_path), pattern)) == hosts


def test_a_file_of_patterns(tmp_path: Path) -> None:
    (tmp_path / "retry").write_text("# failed\nw1\n\nweb2.example.com\n")
    assert short(select(made(tmp_path), f"@{tmp_path}/retry")) == "web2 w1"
    with pytest.raises(InventoryError, match="cannot be read"):
        select(made(tmp_path), f"@{tmp_path}/gone")


@pytest.mark.parametrize(
    ("pattern", "says", "hint"),
    [
        ("wbe", "'wbe' in the pattern 'wbe' is neither a host nor a group", "did you mean web?"),
        ("web,w2", "'w2'", "hosts: web1"),
        ("web:!lb2", "'lb2'", "did you mean lb1?"),
        ("nope", "'nope'", "groups: balancers, eu, web, workers"),
        ("web:!web", "matches no host of prod", "groups: balancers, eu, web, workers"),
        ("web[9]", "matches no host", ""),
        ("nothing*", "matches no host", ""),
        ("", "is empty", ""),
        ("web:!", "is empty", ""),
        ("~(", "is not a valid regular expression", ""),
    ],
)
def test_an_empty_match_or_an_unknown_name_is_an_error(tmp_path: Path, pattern: str, says: str, hint: str) -> None:
    with pytest.raises(InventoryError) as caught:
        select(made(tmp_path), pattern)
    assert says in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "settings", "web", "balancers"),
    [
        (TEXT, {}, "web1 web2 web3 web4", "lb1"),
        (TEXT, {"hosts": "eu:!balancers"}, "web1 web3", "lb1"),
        (TEXT, {"balancer": {"kind": "none"}}, "web1 web2 web3 web4", ""),
        (TEXT, {"balancer": {"hosts": "w1"}}, "web1 web2 web3 web4", "w1"),
        ("all: {hosts: {a: {}}}\n", {}, "a", ""),
        ("app: [a, b]\nbalancers: [c]\n", {}, "a b", "c"),
        ("app: [a, b]\njobs: [c]\n", {"processes": {"w": {"command": "x", "hosts": "jobs"}}}, "a b", ""),
        ("web: [a]\nbalancers: [a]\n", {}, "a", "a"),
    ],
)
def test_parts(tmp_path: Path, text: str, settings: dict[str, Any], web: str, balancers: str) -> None:
    found = parts(made(tmp_path, text), Settings.model_validate({"app": "shop"} | settings))
    assert (short(found.web), short(found.balancers)) == (web, balancers)


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        ("balancers: [a]\n", {}, "no host of prod is left to serve"),
        ("web: [a]\n", {"hosts": "wbe"}, "hosts in deploy.yaml: 'wbe'"),
        ("web: [a]\n", {"balancer": {"hosts": "lbs"}}, "balancer.hosts in deploy.yaml: 'lbs'"),
        ("web: {vars: {}}\nother: [a]\n", {}, "hosts in deploy.yaml: the pattern 'web' matches no host"),
        ("o: [a]\n", {"processes": {"w": {"command": "x", "hosts": "j"}}}, "processes.w.hosts in deploy.yaml: 'j'"),
    ],
)
def test_parts_that_cannot_be_told(tmp_path: Path, text: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InventoryError) as caught:
        parts(made(tmp_path, text), Settings.model_validate({"app": "shop"} | settings))
    assert says in caught.value.message


def test_processes_have_hosts_of_their_own_or_those_that_serve(tmp_path: Path) -> None:
    text = "web: {hosts: {web1: {}, web2: {}}}\nworkers: {hosts: {jobs1: {}, jobs2: {}}}\n"
    processes = {
        "worker": {"command": "celery", "hosts": "workers"},
        "beat": {"command": "celery beat", "singleton": True},
        "cron": {"command": "crond", "singleton": True, "hosts": "workers"},
        "mailer": {"command": "mailer"},
    }
    found = parts(made(tmp_path, text), Settings.model_validate({"app": "shop", "processes": processes}))
    assert [host.name for host in found.web] == ["web1", "web2"]
    assert [host.name for host in found.others] == ["jobs1", "jobs2"]
    assert found.processes == {
        "worker": ("jobs1", "jobs2"), "beat": ("web1",), "cron": ("jobs1",), "mailer": ("web1", "web2"),
    }  # fmt: skip
