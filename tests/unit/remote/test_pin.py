"""Pinning host keys: the file stays what it was but for the new lines, whatever is in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deployer.errors import UsageError
from deployer.remote.ssh.trust import HostKey, pin

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJ1l9kVQ0l1cQf3o3x2O3C1b6kq9XKJ8M0m1z0l7vZxQ"
NEW = HostKey("ssh-ed25519", "SHA256:x", f"web1 ssh-ed25519 {KEY}")


def test_bytes_that_are_not_utf8_stay(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_bytes(b"# caf\xe9\nold ssh-ed25519 " + KEY.encode() + b" caf\xe9")
    assert pin([NEW], file, replace=True) == [NEW]
    assert (
        file.read_bytes() == b"# caf\xe9\nold ssh-ed25519 " + KEY.encode() + b" caf\xe9\n" + NEW.line.encode() + b"\n"
    )


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_stays(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "known_hosts"
    file.touch(mode=mode)
    file.chmod(mode)
    pin([NEW], file)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["known_hosts"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "known_hosts").symlink_to("dotfiles/known_hosts")
    pin([NEW], tmp_path / "known_hosts")  # a dangling one too
    assert (tmp_path / "known_hosts").is_symlink()
    assert (tmp_path / "dotfiles/known_hosts").read_text() == NEW.line + "\n"


def test_a_file_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").mkdir()
    with pytest.raises(UsageError) as caught:
        pin([NEW], tmp_path / "known_hosts")
    assert caught.value.file == str(tmp_path / "known_hosts") and caught.value.cause == "Is a directory"
