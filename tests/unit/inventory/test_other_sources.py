"""Inventories that are not YAML: INI files, scripts, folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployer.errors import InventoryError
from deployer.inventory.load import load
from deployer.inventory.model import Inventory

INI = """\
# a comment
lonely.example.com
[web]
web[01:02].example.com:2222 ansible_user=deploy deploy="{'shop': {'workers': 2}}"   # the web hosts
10.0.0.9 code=007 flag=yes n=3
; another
[balancers]
lb1 ansible_host=10.0.0.1

[site:children]
web
balancers

[site:vars]
ansible_become = True
words = a b = c
"""


def ini(folder: Path, text: str) -> Inventory:
    path = folder / "inventories" / "prod.ini"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return load("prod", folder)


def test_an_ini_inventory(tmp_path: Path) -> None:
    made = ini(tmp_path, INI)
    assert made.groups["web"] == ("web01.example.com", "web02.example.com", "10.0.0.9")
    assert made.groups["site"] == ("web01.example.com", "web02.example.com", "10.0.0.9", "lb1")
    assert made.groups["ungrouped"] == ("lonely.example.com",)
    web = made["web02.example.com"]
    assert (web.ssh.port, web.ssh.user, web.become) == (2222, "deploy", True)
    assert web.variables["deploy"] == {"shop": {"workers": 2}}
    assert web.variables["words"] == "a b = c"
    plain = made["10.0.0.9"].variables
    assert (plain["code"], plain["flag"], plain["n"]) == ("007", "yes", 3)
    assert made["lb1"].ssh.hostname == "10.0.0.1"
    assert made["lonely.example.com"].become is None


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[web]\na b\n", 2, "'b' is not a valid key=value pair"),
        ("[web:varz]\n", 1, "unknown section [web:varz]"),
        ("a\n[web:vars]\nnothing\n", 3, "is not a valid variable"),
        ("[web]\nw[3:1]\n", 2, "go up"),
        ("[web]\na x='1\n", 2, "quotation"),
        ("[a:children]\nb\n[b:children]\na\n", 4, "contain itself"),
        ("[web]\n-oProxyCommand=x\n", 2, "not a host name"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(InventoryError) as caught:
        ini(tmp_path, text)
    assert (says in caught.value.message, caught.value.line) == (True, line), caught.value


def test_a_folder_is_read_whole_with_the_variables_in_it(tmp_path: Path) -> None:
    files = {
        "hosts": "[web]\nweb1\n",
        "more.yml": "balancers: {hosts: {lb1: {}}}\n",
        "plain": "web:\n  hosts: {web2: {}}\n",
        "notes.md": "# no inventory",
        "known_hosts": "",
        "group_vars/web.yml": "ansible_user: deploy\n",
    }
    for name, content in files.items():
        path = tmp_path / "inventories" / "prod" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    made = load("prod", tmp_path)
    assert made.groups["web"] == ("web1", "web2")
    assert made["web2"].ssh.user == "deploy"
    assert made["lb1"].ssh.known_hosts == (str(tmp_path / "inventories/prod/known_hosts"),)


def script(folder: Path, listed: str, host: str = "{}") -> Inventory:
    path = folder / "inventories" / "prod.sh"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nif [ $1 = --list ]; then cat <<'E'\n{listed}\nE\nelse echo '{host}'; fi\n")
    path.chmod(0o755)
    return load("prod", folder)


def test_a_script_gives_groups_and_variables(tmp_path: Path) -> None:
    listed = {"web": {"hosts": ["a", "b"]}, "eu": ["b"], "_meta": {"hostvars": {"a": {"ansible_port": 23}}}}
    made = script(tmp_path, json.dumps(listed))
    assert (made.groups["web"], made.groups["eu"], made["a"].ssh.port) == (("a", "b"), ("b",), 23)


def test_a_script_without_meta_is_asked_for_each_host(tmp_path: Path) -> None:
    assert script(tmp_path, '{"web": ["a"]}', '{"ansible_user": "me"}')["a"].ssh.user == "me"


@pytest.mark.parametrize(
    ("listed", "says"), [("nonsense", "is not a map"), ('{"a":', "not valid YAML"), ("", "is empty")]
)
def test_a_script_that_prints_no_groups_is_an_error(tmp_path: Path, listed: str, says: str) -> None:
    with pytest.raises(InventoryError, match=says):
        script(tmp_path, listed)


def test_a_script_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "failing"
    path.write_text("#!/bin/sh\necho no credentials >&2\nexit 4\n")
    path.chmod(0o755)
    with pytest.raises(InventoryError) as caught:
        load("prod", tmp_path, path)
    assert "exit status 4" in caught.value.message
    assert caught.value.log == ("no credentials",)
