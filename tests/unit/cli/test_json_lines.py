"""`--output json` of every command: only JSON lines on standard output, `run.finished` last, also after mistakes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator
from support.loopback import free_port
from support.terminal import CTRL_C, Terminal

import deployer.cli
from deployer.cli import run
from deployer.cli.app import app

Lines = list[dict[str, Any]]
Json = Callable[..., Lines]


def _commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    known: dict[str, Any] = {}
    for name, command in group.commands.items():
        below = getattr(command, "commands", None)
        known |= {f"{name} {inner}": nested for inner, nested in below.items()} if below else {name: command}
    return known


COMMANDS = _commands()
WORDS = {
    "exec": ["prod", "--", "true"],
    "run": ["prod", "--", "true"],
    "drain": ["prod", "web1"],
    "admit": ["prod", "web1"],
    "maintenance": ["prod", "on"],
    "freeze": ["prod", "--reason", "a sale"],
    "scale": ["prod", "--instances", "2"],
    "render": ["prod", "--out", "rendered"],
    "dev": ["--strict"],
    "demo": ["--kind", "nonsense"],
    "lab up": ["--kind", "nonsense"],
    "lab status": ["--name", "nowhere"],
    "lab down": ["--name", "nowhere"],
    "init": [],
    "schema": [],
}
"""The arguments of commands that need others than `prod`. Those that would start something are given a mistake."""

WORK_ALONE = ("hosts", "render", "schema", "lab down", "init")
"""Commands that succeed without any host."""


@pytest.fixture(autouse=True)
def process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets what commands of other tests left behind: after a second Ctrl-C the program ends its process."""
    monkeypatch.setattr(run, "_reported_statuses", [])
    monkeypatch.setattr(run, "_stopped_at_once_by", [])


@pytest.fixture
def json_of(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Json:
    """Runs the program with these words; returns its lines, of which the last must close the run truly."""

    def invoke(*words: str) -> Lines:
        monkeypatch.setattr(sys, "argv", ["deploy", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            deployer.cli.main()
        out = capfd.readouterr().out
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["event"] for line in lines].count("run.finished") == 1, out
        last = lines[-1]
        assert last["event"] == "run.finished" and last["exit_status"] == int(end.value.code or 0), out
        assert (last["error"] is None) == (last["exit_status"] == 0), out
        return lines

    return invoke


def words_for(command: str) -> list[str]:
    own = WORDS.get(command, ["prod"])
    at = own.index("--") if "--" in own else len(own)
    return [*command.split(), *own[:at], "--output", "json", *own[at:]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_in_the_command_line(json_of: Json, command: str) -> None:
    last = json_of(*command.split(), "--no-such-option", "--output=json")[-1]
    assert last["outcome"] == "refused" and last["exit_status"] == 2
    assert re.match(r"No such option:? '?--no-such-option", last["error"]["message"])  # the older click quotes it
    assert last["error"]["hint"].endswith(f" {command} --help")  # begins as the program was started


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_folder(json_of: Json, command: str) -> None:
    assert json_of(*words_for(command))[-1]["exit_status"] in ((0,) if command in ("schema", "lab down") else (2,))


@pytest.mark.parametrize("command", COMMANDS)
def test_hosts_that_cannot_be_reached(json_of: Json, project: Path, command: str) -> None:
    host = f"{{ansible_host: 127.0.0.1, ansible_port: {free_port()}, ansible_user: root}}"
    (project / "inventories/prod.yaml").write_text(f"web: {{hosts: {{web1: {host}, web2: {host}}}}}\n")
    (project / "deploy.yaml").write_text("app: shop\nbalancer: {kind: none}\n")
    (project / "deploy.dev.yaml").write_text("secrets: {KEY: {env: NOT_SET_ANYWHERE}}\n")
    if command == "init":
        (project / "deploy.yaml").unlink()
    last = json_of(*words_for(command))[-1]
    assert (last["exit_status"] == 0) == (command in WORK_ALONE), last


def test_a_group_of_commands_and_an_unknown_command(json_of: Json) -> None:
    assert "No such option: --output" in json_of("lab", "--output", "json")[-1]["error"]["message"]
    assert "'psh'" in json_of("psh", "prod", "--output", "json")[-1]["error"]["message"]


def test_what_follows_the_dashes_is_not_our_option(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["deploy", "exec", "prod", "--nope", "--", "kubectl", "--output", "json"])
    with pytest.raises(SystemExit):
        deployer.cli.main()
    assert capfd.readouterr().out == ""


def test_a_fault_of_the_program_in_a_look_that_is_no_run(json_of: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise ZeroDivisionError("should not have happened")

    monkeypatch.setattr("deployer.lab.operate.status", fail)
    last = json_of("lab", "status", "--output", "json")[-1]
    assert last["exit_status"] == 1 and "ZeroDivisionError" in last["error"]["message"]


@pytest.mark.parametrize("of", [[], ["status"]])
def test_the_schema_is_the_data_of_the_closing_line(json_of: Json, deploy: Any, of: list[str]) -> None:
    data = json_of("schema", *of, "--output", "json")[-1]["data"]
    Draft202012Validator.check_schema(data)
    assert data == json.loads(deploy("schema", *of, "--output", "plain").stdout)


QUESTION = """
import re
import sys
from deployer.cli.options import Common
from deployer.errors import UsageError
sys.stdout = open(sys.argv[1], "w")
Common(output="json").confirm("go on?")
Common(output="json", ask_become_pass=True).sudo_password()
"""


def test_a_question_is_not_on_standard_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Terminal([sys.executable, "-c", QUESTION, str(out)], tmp_path, env={"TERM": "xterm"}) as terminal:
        terminal.until("[y/N]")
        terminal.types("y\n")
        terminal.until("password:")
        terminal.types(CTRL_C)
        terminal.end(30)
    assert out.read_text() == ""
