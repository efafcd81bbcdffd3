"""Secrets reach the app exactly, through a file that only its user reads."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from release_site import Host

from deployer.agent.operation import OpError
from deployer.agent.site import secrets
from deployer.artifact import secretfile
from deployer.errors import SettingsError
from deployer.rollout.steps.secrets import digest_of

NASTY = {
    "PLAIN": "postgres://u:p@db/x?y=1&z=2",
    "QUOTES": """it's "quoted" '' and 'again'""",
    "DOLLAR": "$HOME `id` $(id) ${x:-y} \\ \\n !!",
    "LINES": "-----BEGIN KEY-----\nabc'def\n\n-----END KEY-----\n",
    "SPACES": "  \t both ends \t ",
    "EMPTY": "",
    "UNICODE": "пароль ☃ é",
    "LOOKS_LIKE": "x'\nexport OTHER='evil",
}


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_every_value_survives_a_real_shell(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    file = tmp_path / "secrets.env"
    file.write_text(secretfile.render(NASTY))
    done = subprocess.run(
        [shell, "-c", '. "$0" && exec env -0', str(file)], capture_output=True, check=True, env={"PATH": os.defpath}
    )
    seen = dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if pair)
    assert {name: seen[name] for name in NASTY} == NASTY
    assert "OTHER" not in seen


def test_the_agent_reads_back_what_the_controller_wrote() -> None:
    assert secrets.parse(secretfile.render(NASTY)) == NASTY


@pytest.mark.parametrize("values", [{"A B": "x"}, {"A=B": "x"}, {"1A": "x"}, {"A\n": "x"}, {"A": "x\0y"}])
def test_names_that_a_shell_would_run_and_nul_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        secretfile.render(values)
    assert "x\0y" not in str(caught.value)


def test_what_they_were_is_kept_until_the_run_ends_and_comes_back_as_it_was(tmp_path: Path) -> None:
    host = Host(tmp_path).set_up()
    good, bad, other = (secretfile.render({"KEY": each}).encode() for each in ("good", "bad", "other"))
    host.call("secrets.write", good)
    os.utime(host.site.secrets, (1000, 1000))
    host.call("secrets.write", bad, keep=True)
    host.call("secrets.write", other, keep=True)  # of a run that goes on after one that died
    assert secrets.values(host.site) == {"KEY": "other"}
    assert Path(host.site.secrets_before).stat().st_mode & 0o777 == 0o600
    assert host.call("secrets.restore") == {"changed": True}
    assert secrets.values(host.site) == {"KEY": "good"} and os.stat(host.site.secrets).st_mtime == 1000
    assert host.call("secrets.restore") == {"changed": False}
    host.call("secrets.write", bad, keep=True)
    assert host.call("secrets.settle") == {"changed": True}
    assert host.call("secrets.restore") == {"changed": False}
    assert secrets.values(host.site) == {"KEY": "bad"}


def test_where_there_were_none_there_are_none_again(tmp_path: Path) -> None:
    host = Host(tmp_path).set_up()
    host.call("secrets.write", secretfile.render({"KEY": "first"}).encode(), keep=True)
    assert host.call("secrets.restore") == {"changed": True}
    assert not os.path.exists(host.site.secrets) and not os.path.exists(host.site.secrets_before)


def same(host: Host, text: bytes) -> bool:
    """Whether a controller with this text sees by digests alone that the host has the same."""
    first, second = host.call("secrets.digest"), host.call("secrets.digest")
    assert first["key"] != second["key"] and (first["digest"] is None or first["digest"] != second["digest"])
    return all(answer["digest"] == digest_of(answer["key"], text) for answer in (first, second))


def test_the_file_is_private_and_touched_only_when_it_changes(tmp_path: Path) -> None:
    host = Host(tmp_path).set_up()
    text = secretfile.render(NASTY).encode()
    assert not same(host, text) and same(host, b"") and not os.path.exists(host.site.secrets)
    assert host.call("secrets.write", text) == {"changed": True}
    before = os.stat(host.site.secrets)
    assert before.st_mode & 0o777 == 0o600
    assert os.stat(host.site.state).st_mode & 0o777 == 0o711
    assert host.call("secrets.write", text) == {"changed": False}
    assert same(host, text) and not same(host, text + text)
    assert os.stat(host.site.secrets).st_ino == before.st_ino
    os.chmod(host.site.secrets, 0o644)
    assert not same(host, text)
    assert host.call("secrets.write", text) == {"changed": True}
    assert os.stat(host.site.secrets).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", [b"rm -rf /\n", b"export A='x'; id\n", b"export A='x'", b"export A=x\n"])
def test_anything_but_assignments_is_refused(tmp_path: Path, text: bytes) -> None:
    host = Host(tmp_path).set_up()
    with pytest.raises(OpError) as caught:
        host.call("secrets.write", text)
    assert caught.value.code == "invalid" and not os.path.exists(host.site.secrets)


def test_no_secrets_where_there_never_were_any_is_no_change(tmp_path: Path) -> None:
    host = Host(tmp_path).set_up()
    assert host.call("secrets.write") == {"changed": False}
    assert not Path(host.site.secrets).exists()
    host.call("secrets.write", b"export OLD='x'\n")
    assert host.call("secrets.write") == {"changed": True}
    assert Path(host.site.secrets).read_text() == ""
