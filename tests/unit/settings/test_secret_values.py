"""Secret references: where values come from, and what is said when they do not come."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from deployer.errors import SettingsError
from deployer.settings.models import SecretRef
from deployer.settings.secrets import resolve_secrets


def test_a_variable_and_a_command_give_their_values(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("s3cret\n")
    refs = {
        "A": SecretRef(env="FROM"),
        "B": SecretRef(command="cat key.txt"),
        "C": SecretRef(command="printf 'x\\ny\\n\\n'"),
    }
    assert resolve_secrets(refs, tmp_path, {"FROM": "v "}) == {"A": "v ", "B": "s3cret", "C": "x\ny\n"}


def test_a_command_ends_although_something_that_it_started_goes_on(tmp_path: Path) -> None:
    refs = {"TOKEN": SecretRef(command="sleep 250 & echo $! > pid; echo value")}
    try:
        assert resolve_secrets(refs, tmp_path, timeout_s=200) == {"TOKEN": "value"}
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_variable_that_is_not_utf8_is_named_and_not_shown(tmp_path: Path) -> None:
    value = os.fsdecode(b"caf\xe9hunter2")
    with pytest.raises(SettingsError, match=r"secrets\.DB: the environment variable FROM holds bytes") as caught:
        resolve_secrets({"DB": SecretRef(env="FROM")}, tmp_path, {"FROM": value})
    assert "hunter2" not in f"{caught.value.as_dict()}"


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        (SecretRef(env="NOT_SET"), "the environment variable NOT_SET, which is not set"),
        (SecretRef(command="echo hunter2; exit 3"), "exit status 3"),
        (SecretRef(command="false\necho hunter2\n"), "exit status 1"),
        (SecretRef(command="true"), "printed nothing"),
        (SecretRef(command="printf '\\377'"), "not UTF-8"),
        (SecretRef(command="printf 'hunter2\\000'"), "NUL byte"),
    ],
)
def test_a_failure_names_the_secret_and_never_its_value(tmp_path: Path, ref: SecretRef, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve_secrets({"DB": ref}, tmp_path, {})
    assert "DB" in caught.value.message and says in caught.value.message
    assert "hunter2" not in f"{caught.value.as_dict()}"


def test_a_command_that_hangs_is_given_up_even_if_its_child_holds_the_pipe(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(SettingsError, match="did not end within"):
        resolve_secrets({"DB": SecretRef(command="sleep 7 & sleep 7; true")}, tmp_path, {}, timeout_s=0.3)
    assert time.monotonic() - began < 5


def test_sops_that_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="sops is not installed on this machine"):
        resolve_secrets({"T": SecretRef(sops="secrets.yaml")}, tmp_path, {})


def test_sops_is_asked_for_the_secret_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sops"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    (tmp_path / "secrets.yaml").write_text("T: x\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = resolve_secrets({"T": SecretRef(sops="secrets.yaml")}, tmp_path, {})
    assert found == {"T": '-d --extract ["T"] secrets.yaml'}


def test_the_projects_own_store_is_not_there_yet(tmp_path: Path) -> None:
    assert resolve_secrets((), tmp_path) == {}
    with pytest.raises(SettingsError) as caught:
        resolve_secrets(("DB",), tmp_path)
    assert "not there yet" in caught.value.message and "DB" in str(caught.value.hint)
