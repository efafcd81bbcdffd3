"""known_hosts files of people: whatever they hold, the lines that can be read count."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from deployer.remote.ssh.known_hosts import KnownHosts, fingerprint, host_names

A, B = (base64.b64encode(b"\0\0\0\x0bssh-ed25519" + bytes([number]) * 36).decode() for number in (1, 2))


def read(tmp_path: Path, *lines: str) -> KnownHosts:
    (tmp_path / "known").write_text("\n".join(lines))
    return KnownHosts.read([str(tmp_path / "known"), str(tmp_path / "missing")])


def test_names_as_openssh_looks_for_them() -> None:
    assert host_names("web1", 22) == ("web1",)
    assert host_names("web1", 2222) == ("[web1]:2222", "web1")
    assert host_names("web1", 2222, "alias") == ("alias",)


def test_patterns_negations_and_case(tmp_path: Path) -> None:
    known = read(tmp_path, f"*.Example.com,!db.example.com ssh-ed25519 {A} a comment")
    assert known.trusted(["web.example.COM"]) and not known.trusted(["db.example.com"])
    assert not known.trusted(["example.com"])


def test_brackets_are_no_character_class(tmp_path: Path) -> None:
    known = read(tmp_path, f"[web]:2222 ssh-ed25519 {A}")
    assert known.trusted(["[web]:2222"]) and not known.trusted(["w:2222"])


def test_several_keys_of_a_host_all_count(tmp_path: Path) -> None:
    known = read(tmp_path, f"web ssh-ed25519 {A}", f"web ssh-ed25519 {B}")
    assert len(known.trusted(["web"])["ssh-ed25519"]) == 2


def test_a_revoked_key_is_not_trusted_by_its_own_line(tmp_path: Path) -> None:
    known = read(tmp_path, f"@revoked web ssh-ed25519 {A}")
    assert not known.trusted(["web"])
    assert known.is_revoked(["web"], base64.b64decode(A)) and not known.is_revoked(["web"], base64.b64decode(B))


def test_what_cannot_be_used_is_told_with_its_line(tmp_path: Path) -> None:
    known = read(tmp_path, "# fine", "", "web", f"@cert-authority * ssh-ed25519 {A}", f"web ssh-ed25519 {A}")
    assert [warning.split(":")[1] for warning in known.warnings] == ["3", "4"]
    assert known.trusted(["web"])


def test_fingerprints_are_those_of_ssh_keygen() -> None:
    assert fingerprint(b"") == "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"


def hashed(name: str) -> str:
    """As `ssh-keygen -H` writes a name."""
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("form", ["{}", "{},192.0.2.1", "hashed"])
@pytest.mark.parametrize(("address", "port", "name"), [("::1", 22, "::1"), ("::1", 2222, "[::1]:2222")])
def test_ipv6_addresses(tmp_path: Path, form: str, address: str, port: int, name: str) -> None:
    written = hashed(name) if form == "hashed" else form.format(name)
    known = read(tmp_path, f"{written} ssh-ed25519 {A}")
    assert known.trusted(host_names(address, port))
    assert not known.trusted(host_names("::2", port)) and not known.trusted([f"[{address}]:2223"])


def test_the_plain_form_of_an_ipv6_address_counts_at_every_port(tmp_path: Path) -> None:
    assert read(tmp_path, f"::1 ssh-ed25519 {A}").trusted(host_names("::1", 2222))
