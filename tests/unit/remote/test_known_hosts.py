"""known_hosts files of people: whatever they hold, the lines that can be read count."""

from __future__ import annotations

import base64
from pathlib import Path

from deployer.remote.known_hosts import KnownHosts, fingerprint, host_names

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
