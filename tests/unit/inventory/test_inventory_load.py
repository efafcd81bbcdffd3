"""Inventories as Ansible's users have them: which hosts, which variables, and what is said when something is wrong."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from deployer.errors import InventoryError
from deployer.inventory.load import load
from deployer.inventory.model import Host, Inventory


def inventory(folder: Path, text: str, **files: str) -> Inventory:
    """`text` as inventories/prod.yaml, `files` beside it by path."""
    for name, content in {"prod.yaml": text, **files}.items():
        path = folder / "inventories" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return load("prod", folder)


def refused(folder: Path, text: str, **files: str) -> InventoryError:
    with pytest.raises(InventoryError) as caught:
        inventory(folder, text, **files)
    return caught.value


def only(folder: Path, variables: str, **files: str) -> Host:
    """The one host of an inventory with these variables, as the inside of a flow map."""
    return inventory(folder, f"web: {{hosts: {{h1: {{{variables}}}}}}}\n", **files).hosts[0]


def names(made: Inventory) -> list[str]:
    return [host.name for host in made.hosts]


def test_the_contracts_single_server(tmp_path: Path) -> None:
    host = inventory(tmp_path, "all: {hosts: {203.0.113.7: {ansible_user: root}}}\n").hosts[0]
    assert (host.name, host.ssh.hostname, host.ssh.user) == ("203.0.113.7", "203.0.113.7", "root")
    assert host.groups == {"all", "ungrouped"}


def test_the_contracts_three_servers_behind_a_balancer(tmp_path: Path) -> None:
    text = 'web: {hosts: {"web[1:3].example.com": {}}}\nbalancers: {hosts: {lb1.example.com: {}}}\n'
    made = inventory(tmp_path, text)
    assert made.groups["web"] == ("web1.example.com", "web2.example.com", "web3.example.com")
    assert made.groups["balancers"] == ("lb1.example.com",)
    assert made["lb1.example.com"].groups == {"all", "balancers"}
    assert (made.env, made.source) == ("prod", str(tmp_path / "inventories" / "prod.yaml"))


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        ("web[1:3]", ["web1", "web2", "web3"]),
        ("web[01:03]", ["web01", "web02", "web03"]),
        ("web[008:010]", ["web008", "web009", "web010"]),
        ("w[1:9:4]", ["w1", "w5", "w9"]),
        ("w[a:c]x", ["wax", "wbx", "wcx"]),
        ("r[1:2]n[a:b]", ["r1na", "r1nb", "r2na", "r2nb"]),
        ("w[:2]", ["w0", "w1", "w2"]),
        ("web1:2222", ["web1"]),
        ("[2001:db8::1]:22", ["2001:db8::1"]),
        ("2001:db8::1", ["2001:db8::1"]),
    ],
)
def test_names_and_ranges(tmp_path: Path, written: str, expanded: list[str]) -> None:
    assert names(inventory(tmp_path, f'web: {{hosts: {{"{written}": {{}}}}}}\n')) == expanded


@pytest.mark.parametrize("text", ["[a, b]", "{hosts: [a, b]}", "{hosts: {a, b}}", "\n  hosts:\n    a:\n    b:"])
def test_bare_lists_mean_hosts(tmp_path: Path, text: str) -> None:
    assert inventory(tmp_path, f"web: {text}\n").groups["web"] == ("a", "b")


def test_children_belong_to_their_parents(tmp_path: Path) -> None:
    text = "eu: {children: {web: {hosts: {a: {}}}, db: }}\ndb: {hosts: {b: {}}}\nall: {children: [eu]}\n"
    made = inventory(tmp_path, text)
    assert made.groups["eu"] == ("a", "b")
    assert made["b"].groups == {"all", "eu", "db"}


def test_variables_count_in_ansibles_order(tmp_path: Path) -> None:
    text = """
all: {vars: {v_all: all, v_gvall: all, v_parent: all, v_child: all, v_host: all, v_hv: all}}
parent:
  vars: {v_gvall: parent, v_parent: parent, v_child: parent, v_host: parent, v_hv: parent}
  children:
    child:
      vars: {v_child: child, v_host: child, v_hv: child}
      hosts: {h1: {v_host: host, v_hv: host}}
"""
    made = inventory(
        tmp_path,
        text,
        **{
            "group_vars/all.yml": "v_gvall: gv_all\nv_gv: gv_all\n",
            "group_vars/child/b.yaml": "v_gv: gv_child_b\n",
            "group_vars/child/a.yaml": "v_gv: gv_child_a\n",
            "group_vars/child/.hidden.yaml": "v_hidden: x\n",
            "host_vars/h1.json": '{"v_hv": "host_vars"}',
        },
    )
    found = {name: value for name, value in made["h1"].variables.items() if name.startswith("v_")}
    assert found == {
        "v_all": "all",
        "v_gvall": "gv_all",
        "v_parent": "parent",
        "v_child": "child",
        "v_host": "host",
        "v_hv": "host_vars",
        "v_gv": "gv_child_b",
    }


def test_priority_then_name_decide_between_groups_of_one_depth(tmp_path: Path) -> None:
    text = "b: {hosts: {h1: {}}, vars: {x: b, y: b}}\na: {hosts: {h1: {}}, vars: {x: a, y: a%s}}\n"
    assert inventory(tmp_path, text % "").hosts[0].variables["x"] == "b"
    assert inventory(tmp_path, text % ", ansible_group_priority: 5").hosts[0].variables["x"] == "a"


def test_the_connection_variables(tmp_path: Path) -> None:
    host = only(
        tmp_path,
        "ansible_host: 10.0.0.5, ansible_port: 2222, ansible_user: deploy, ansible_ssh_private_key_file: keys/id, "
        "ansible_python_interpreter: /usr/bin/python3.11, ansible_become: yes, ansible_become_password: pw, "
        "ansible_ssh_common_args: '-o ProxyJump=me@gate:22,inner -i /k2 -o ControlMaster=auto', "
        "deploy_prefix: /lab/h1/, deploy_known_hosts: [kh]",
        known_hosts="",
    )
    folder = tmp_path / "inventories"
    assert (host.ssh.hostname, host.ssh.port, host.ssh.user) == ("10.0.0.5", 2222, "deploy")
    assert host.ssh.keys == (str(folder / "keys/id"), "/k2")
    assert host.ssh.gateway == "me@gate:22,inner"
    assert host.ssh.known_hosts == (str(folder / "known_hosts"), str(folder / "kh"))
    assert (host.python, host.prefix, host.become, host.become_password) == (
        "/usr/bin/python3.11",
        "/lab/h1",
        True,
        "pw",
    )
    assert "pw" not in repr(host)


def test_what_is_not_said_stays_open(tmp_path: Path) -> None:
    host = only(tmp_path, "")
    assert (host.ssh.user, host.ssh.port, host.ssh.keys, host.become, host.python) == (None, None, (), None, "python3")


def test_a_port_in_the_name_counts_unless_a_variable_says_otherwise(tmp_path: Path) -> None:
    assert inventory(tmp_path, 'web: {hosts: {"h1:2222": {}}}\n').hosts[0].ssh.port == 2222
    assert inventory(tmp_path, 'web: {hosts: {"h1:2222": {ansible_port: 23}}}\n').hosts[0].ssh.port == 23


@pytest.mark.parametrize(
    ("command", "gateway", "proxy"),
    [
        ("ssh -W %h:%p -q me@gate", "me@gate", None),
        ("ssh -p 2200 -l me -W %h:%p gate", "me@gate:2200", None),
        ("nc -X 5 -x proxy:1080 %h %p", None, "nc -X 5 -x proxy:1080 %h %p"),
        ("ssh -F other -W %h:%p gate", None, "ssh -F other -W %h:%p gate"),
    ],
)
def test_a_proxy_command_through_ssh_is_a_gateway(
    tmp_path: Path, command: str, gateway: str | None, proxy: str | None
) -> None:
    host = only(tmp_path, f"ansible_ssh_common_args: '-o ProxyCommand=\"{command}\"'")
    assert (host.ssh.gateway, host.ssh.proxy_command) == (gateway, proxy)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ("ansible_connection: local", "ansible_connection local cannot be used"),
        ("ansible_connection: winrm", "ansible_connection winrm cannot be used"),
        ("ansible_password: x", "SSH passwords are not used"),
        ("ansible_port: 99999", "ansible_port must be a whole number from 1 to 65535"),
        ("ansible_port: '{{ port }}'", "ansible_port is a Jinja expression"),
        ("ansible_user: !vault x", "ansible_user is encrypted"),
        ("ansible_user: [a]", "ansible_user must be text"),
        ("ansible_become: perhaps", "ansible_become must be true or false"),
        ("ansible_become_method: su", "ansible_become_method su cannot be used"),
        ("ansible_become_user: postgres", "ansible_become_user postgres cannot be used"),
        ("ansible_host: '-oProxyCommand=evil'", "is not a host name"),
        ("ansible_host: 'h:22'", "'h:22' has a port"),
        ("ansible_ssh_common_args: '-o ForwardAgent=yes'", "ForwardAgent is not supported"),
        ("ansible_ssh_extra_args: '-F other'", "the ssh argument -F is not supported"),
        ("ansible_ssh_common_args: '-o StrictHostKeyChecking=no'", "host keys are always checked"),
        ("ansible_ssh_common_args: '-o UserKnownHostsFile=/dev/null'", "host keys are always checked"),
        ("ansible_ssh_common_args: '-o \"x'", "quotation"),
        ("ansible_python_interpreter: 'python3; evil'", "is not a valid path of an interpreter"),
        ("deploy_prefix: lab", "must be an absolute path"),
    ],
)
def test_a_connection_that_cannot_be_made_is_refused_at_its_line(tmp_path: Path, variables: str, says: str) -> None:
    error = refused(tmp_path, f"web:\n  hosts:\n    h1:\n      {variables}\n")
    assert says in error.message
    assert (error.host, error.line, Path(str(error.file)).name) == ("h1", 4, "prod.yaml")


def test_a_wrong_variable_names_the_vars_file_it_is_in(tmp_path: Path) -> None:
    error = refused(tmp_path, "web: [h1]\n", **{"group_vars/web.yml": "a: 1\nansible_port: x\n"})
    assert (Path(str(error.file)).name, error.line) == ("web.yml", 2)


def test_vault_and_jinja_that_are_not_needed_are_carried(tmp_path: Path) -> None:
    host = only(
        tmp_path,
        "password: !vault x, url: '{{ base }}/x', mode: 0644",
        **{"group_vars/all/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n3333\n", "group_vars/all/a.yml": "k: v\n"},
    )
    assert (host.variables["url"], host.variables["k"]) == ("{{ base }}/x", "v")
    assert pickle.loads(pickle.dumps(host)) == host


def test_scalars_are_ansibles(tmp_path: Path) -> None:
    found = only(tmp_path, "a: yes, b: Off, c: 0644, d: 089, e: 3.10, f: 'yes', g: 1.2.3, h: ~").variables
    assert found == {"a": True, "b": False, "c": 0o644, "d": "089", "e": 3.1, "f": "yes", "g": "1.2.3", "h": None}


@pytest.mark.parametrize(
    ("text", "line", "says", "hint"),
    [
        ("", 1, "is empty", "web: {hosts:"),
        ("- a\n", 1, "not a map of groups", ""),
        ("web: {vars: {a: b}}\n", None, "has no hosts", ""),
        ("web:\n  hsots: {a: {}}\n", 2, "no section hsots", "did you mean hosts?"),
        ("web:\n  web1.example.com: {}\n", 2, "no section web1.example.com", "if it is a host: web: {hosts:"),
        ("web:\n  hosts:\n    web[1-3]: {}\n", 3, "not a valid range", ""),
        ("web:\n  hosts:\n    web[3:1]: {}\n", 3, "go up", ""),
        ("web:\n  hosts:\n    web[01:100]: {}\n", 3, "same length", ""),
        ("web:\n  hosts:\n    web[1:99999999]: {}\n", 3, "more than 10000", ""),
        ("web:\n  hosts:\n    'a b': {}\n", 3, "is not a host name", ""),
        ("web:\n  hosts:\n    '-oProxyCommand=x': {}\n", 3, "is not a host name", ""),
        ("web:\n  hosts:\n    a: x\n", 3, "must be a map", "NAME: VALUE"),
        ("web:\n  hosts: 3\n", 2, "map or a list", ""),
        ("web: {hosts: [1, 2]}\n", 1, "must be names", "quote"),
        ("a: {children: {b: {children: {a: }}}}\nc: [h]\n", 1, "contain itself", ""),
        ("web: {hosts: {a: {}}}\nweb: {hosts: {b: {}}}\n", 2, "is repeated", ""),
        ("plugin: aws_ec2\n", 1, "inventory plugin", "ansible-inventory"),
        ("web: {hosts: {a: {}}, vars: {ansible_group_priority: high}}\n", 1, "whole number", ""),
        ("web:\n\thosts:\n", 2, "tab", "spaces"),
    ],
)
def test_a_mistake_names_file_and_line(tmp_path: Path, text: str, line: int | None, says: str, hint: str) -> None:
    error = refused(tmp_path, text)
    assert (says in error.message, error.line) == (True, line), error
    assert hint in (error.hint or "")
    assert Path(str(error.file)).name == "prod.yaml"


def test_it_is_found_above_and_the_nearest_folder_wins(tmp_path: Path) -> None:
    inventory(tmp_path, "web: [outer]\n")
    assert names(load("prod", tmp_path / "services" / "shop")) == ["outer"]
    (tmp_path / "services" / "inventories").mkdir(parents=True)
    (tmp_path / "services" / "inventories" / "prod.yml").write_text("web: [inner]\n")
    assert names(load("prod", tmp_path / "services")) == ["inner"]


def test_an_environment_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    inventory(tmp_path, "web: [a]\n", **{"staging.yml": "", "group_vars/all.yml": "", "known_hosts": ""})
    with pytest.raises(InventoryError) as caught:
        load("stagign", tmp_path)
    assert "known: prod, staging" in caught.value.message
    assert caught.value.hint == "did you mean staging? deploy hosts staging shows it"


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    assert "prod.yaml and prod.yml" in refused(tmp_path, "web: [a]\n", **{"prod.yml": ""}).message


def test_a_file_named_on_the_command_line_is_read_instead(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("web: [z]\n")
    assert names(load("prod", tmp_path, other)) == ["z"]
    with pytest.raises(InventoryError, match="no such inventory"):
        load("prod", tmp_path, tmp_path / "gone.yaml")
