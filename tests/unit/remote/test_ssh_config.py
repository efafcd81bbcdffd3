"""The user's SSH configuration, as OpenSSH reads it and as it is read without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deployer.errors import InventoryError
from deployer.inventory.model import Host, SshOptions
from deployer.remote.ssh import ssh_config
from deployer.remote.ssh.dialer import Dialer
from deployer.remote.ssh.ssh_config import Hop, SshConfigs

CONFIG = """
Host web
  HostName 10.0.0.1
  Port 2222
  User shop
  IdentityFile ~/.ssh/shop
  IdentitiesOnly yes
  ProxyJump a@first:1,second
Host loop
  ProxyJump pool
Host pool
  ProxyJump loop
Host odd
  ProxyCommand nc "%h" %p 100%%
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "config").write_text(CONFIG)
    return str(tmp_path / "config")


@pytest.mark.parametrize("openssh", [True, False])
def test_the_options_that_count(config: str, openssh: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not openssh:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif not shutil.which("ssh"):
        pytest.skip("there is no OpenSSH here")
    found = SshConfigs(config).lookup("web")
    assert (found.hostname, found.port, found.user) == ("10.0.0.1", 2222, "shop")
    assert found.identities_only and [Path(key).name for key in found.keys] == ["shop"]
    assert found.jumps == ("a@first:1", "second")
    assert SshConfigs(config).lookup("elsewhere").jumps == ()


def test_what_the_inventory_says_wins(config: str) -> None:
    target = Dialer(config_file=config).target(Host("web", SshOptions("web", user="me", port=22)))
    assert (target.user, target.port, target.hostname) == ("me", 22, "10.0.0.1")
    assert Dialer(user="you", config_file=config).target(Host("web", SshOptions("web", user="me"))).user == "you"


def test_a_chain_ends_nearest_to_the_host(config: str) -> None:
    target = Dialer(config_file=config).target(Host("web", SshOptions("web")))
    assert target.via is not None and target.via.hostname == "second"
    assert target.via.via is not None
    assert (target.via.via.hostname, target.via.via.port, target.via.via.user) == ("first", 1, "a")


def test_a_chain_without_an_end_is_an_error(config: str) -> None:
    with pytest.raises(InventoryError, match="does not end"):
        Dialer(config_file=config).target(Host("loop", SshOptions("loop")))


def test_a_proxy_command_has_its_tokens_quoted(config: str) -> None:
    target = Dialer(config_file=config).target(Host("odd", SshOptions("odd", proxy_command="nc %h %p 100%%")))
    assert target.command == "nc odd 22 100%"


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("gate", Hop("gate")),
        ("me@gate:22", Hop("gate", "me", 22)),
        ("me@[fe80::1]:22", Hop("fe80::1", "me", 22)),
        ("ssh://me@gate:22", Hop("gate", "me", 22)),
    ],
)
def test_hops_are_read(text: str, hop: Hop) -> None:
    assert Hop.parse(text) == hop


def test_a_match_exec_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("ssh"):
        pytest.skip("there is no OpenSSH here")
    (tmp_path / "config").write_text('Match exec "sleep 600"\n  User shop\n')
    monkeypatch.setattr(ssh_config, "_SSH_TIMEOUT_S", 0.5)
    with pytest.raises(InventoryError, match="did not read its configuration for web") as caught:
        SshConfigs(str(tmp_path / "config")).lookup("web")
    assert caught.value.exit_status == 2 and caught.value.file == str(tmp_path / "config")


def test_odd_numbers_in_a_file_that_openssh_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (tmp_path / "config").write_text("Host *\n  Port ssh\n  ServerAliveInterval 1m\n  ConnectTimeout \u00b2\n")
    found = SshConfigs(str(tmp_path / "config")).lookup("web")
    assert (found.port, found.alive_interval, found.connect_timeout) == (22, 0, None)
