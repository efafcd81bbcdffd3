"""The one command that reaches a login shell."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from deployer.inventory.model import Host, SshOptions
from deployer.remote.bundle import LOADER
from deployer.remote.command_line import command_line, escalation


def host(**fields: object) -> Host:
    return Host("web1", SshOptions("web1"), **fields)  # type: ignore[arg-type]


def test_the_loader_survives_every_login_shell() -> None:
    assert not set("'!\n`$") & set(LOADER)


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "csh", "tcsh", "ksh"])
def test_a_strange_interpreter_path_stays_one_word(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    line = command_line("/opt/my python/$HOME;x", "t0", 12, "no")
    shown = line.replace("exec ", "printf '[%s]' ", 1)
    said = subprocess.run([shell, "-c", shown], capture_output=True, text=True, check=True).stdout
    assert said.startswith("[/opt/my python/$HOME;x][-ISc][") and said.endswith("[t0][12]")


@pytest.mark.parametrize("how", ["try", "must"])
@pytest.mark.parametrize("marker", [None, "[sudo abc] "])
def test_sudo_asks_only_with_a_marker(how: str, marker: str | None) -> None:
    words = shlex.split(command_line("python3", "t0", 12, how, marker))  # type: ignore[arg-type]
    assert words[:3] == ["exec", "sh", "-c"] and words[6:8] == ["-ISc", LOADER]
    assert ("-S -p '[sudo abc] '" in words[3]) is (marker is not None)
    assert ("-H -n" in words[3]) is (marker is None)


def test_who_becomes_root() -> None:
    assert escalation(host()) == "try"
    assert escalation(host(become=True)) == "must"
    assert escalation(host(become=False)) == "no"
    assert escalation(host(become=False), become=True) == "must"
    assert escalation(host(become=True, prefix="/tmp/lab/web1")) == "no"
