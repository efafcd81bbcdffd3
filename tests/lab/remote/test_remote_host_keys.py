"""Connecting to real sshds: whose key is trusted, and how it comes to be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.dialling import connects, key_line, knows, tried
from support.loopback import Sshd, keygen

from deployer.errors import DeployError, UntrustedHostError
from deployer.inventory.model import Host
from deployer.remote.ssh.dialer import Dialer
from deployer.remote.ssh.trust import pin, scan

pytestmark = pytest.mark.lab


def test_an_unknown_host_is_refused_and_its_fingerprint_shown(sshd: Sshd, config: Path) -> None:
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(sshd.folder / "host_ed25519.pub")], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    error = tried(sshd.host(known_hosts=()), config)
    assert isinstance(error, UntrustedHostError)
    assert (error.code, error.exit_status) == ("key_unknown", 3)
    assert shown in error.message
    assert "deploy trust" in (error.hint or "")


def test_a_changed_key_is_refused_with_both_fingerprints(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other").with_suffix(".pub").read_text()
    error = tried(knows(sshd, tmp_path, f"[127.0.0.1]:{sshd.port} {other}"), config)
    assert error.code == "key_changed"
    assert error.message.count("SHA256:") == 2


def test_a_revoked_key_is_refused_though_it_is_known(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    line = f"[127.0.0.1]:{sshd.port} {key_line(sshd)}"
    assert tried(knows(sshd, tmp_path, line, f"@revoked * {key_line(sshd)}"), config).code == "revoked"


def test_lines_that_paramiko_does_not_know_do_not_void_the_others(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    lines = (
        f"@cert-authority *.example.com {key_line(sshd)}",
        f"@revoked old.example.com {key_line(sshd)}",
        "# a comment",
        "rubbish",
        "web1 ssh-future AAAA====x",
        f"[127.0.0.1]:{sshd.port} {key_line(sshd)}",
    )
    assert connects(knows(sshd, tmp_path, *lines), config)


def test_a_certificate_authority_alone_trusts_nobody_and_is_told(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    error = tried(knows(sshd, tmp_path, f"@cert-authority * {key_line(sshd)}"), config)
    assert error.code == "key_unknown"
    assert "certificate authorities" in (error.cause or "")


def test_hashed_names_patterns_and_bare_names_are_found(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    host = knows(sshd, tmp_path, f"[127.0.0.1]:{sshd.port} {key_line(sshd)}")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(tmp_path / "known_hosts")], check=True, capture_output=True)
    assert "|1|" in (tmp_path / "known_hosts").read_text()
    assert connects(host, config)
    assert connects(knows(sshd, tmp_path, f"[127.0.0.*]:{sshd.port} {key_line(sshd)}"), config)
    assert connects(knows(sshd, tmp_path, f"127.0.0.1 {key_line(sshd)}"), config)
    assert tried(knows(sshd, tmp_path, f"!127.0.0.1,127.* {key_line(sshd)}"), config).code == "key_unknown"


def test_a_host_of_which_only_the_second_key_is_known(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    assert connects(knows(sshd, tmp_path, f"[127.0.0.1]:{sshd.port} {key_line(sshd, 'rsa')}"), config)


def test_an_alias_and_the_users_own_known_hosts_file_count(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(f"the-alias {key_line(sshd)}\n")
    config.write_text(f"Host *\n  HostKeyAlias the-alias\n  UserKnownHostsFile {tmp_path}/mine\n")
    assert connects(sshd.host(known_hosts=()), config)


def test_a_scanned_and_pinned_host_is_trusted_and_a_changed_key_never_replaced_silently(
    sshd: Sshd, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "inventories" / "known_hosts"
    host = sshd.host(known_hosts=(str(file),))
    keys = scan(host, Dialer(config_file=str(config)))
    assert [key.type for key in keys] == ["ssh-ed25519", "ssh-rsa"]
    assert len(pin(keys, file)) == 2
    before = file.read_text()
    assert connects(host, config)
    assert pin(keys, file) == []
    assert file.read_text() == before

    other = " ".join(keygen(tmp_path / "other").with_suffix(".pub").read_text().split()[:2])
    file.write_text(f"# mine\n[127.0.0.1]:{sshd.port} {other}\nweb9 {other}\n")
    with pytest.raises(UntrustedHostError):
        pin(keys, file)
    assert "# mine" in file.read_text() and not connects_quietly(host, config)
    pin(keys, file, replace=True)
    assert connects(host, config)
    assert file.read_text().splitlines()[:2] == ["# mine", f"web9 {other}"]


def connects_quietly(host: Host, config: Path) -> bool:
    try:
        return connects(host, config)
    except DeployError:
        return False
