"""A person's own commands: on hosts, in the release, and with a terminal."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from support.project import Project
from support.terminal import Terminal

from deployer.lab import Lab

SETTINGS = {
    "app": "commands",
    "domains": ["commands.test"],
    "port": 8050,
    "env": {"GREETING": "it's a $good day"},
    "secrets": {"TOKEN": {"env": "TOKEN"}},
    "health": {"within": "20s"},
    "runtime": {"workers": 1},
    "rolling": {"drain_timeout": "1s", "soak": "100ms", "waves": ["100%"], "max_unavailable": "100%"},
}
SECRET = {"TOKEN": "s3cret 'quoted'"}


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The example app, pushed once, with a variable and a secret."""
    project = Project(tmp_path_factory.mktemp("commands") / "shop", lab.name, "shop", SETTINGS)
    project.deploy("setup")
    refused = project.deploy("run", "true", expect=3)
    assert refused.error["code"] == "no_release" and "deploy push" in refused.error["hint"]
    project.deploy("push", env=SECRET)
    yield project


def test_exec_runs_on_every_host_or_those_of_the_limit_and_ends_as_the_command_did(shop: Project) -> None:
    said = {event["host"]: event["line"] for event in shop.deploy("exec", "echo $((6 * 7))").of("output")}
    assert said == {"web1": "42", "web2": "42", "web3": "42"}
    assert [event["host"] for event in shop.deploy("exec", "echo here", "-l", "lb1").of("output")] == ["lb1"]
    failed = shop.deploy("exec", "echo on stderr >&2; exit 41", "-l", "web1,web2", expect=41)
    assert {event["line"] for event in failed.of("output")} == {"on stderr"}
    assert failed.error["code"] == "command_failed" and "41 on web1, web2" in failed.error["message"]
    slow = shop.deploy("exec", "sleep 600", "-l", "web1", "--timeout", "1s", expect=None)
    assert slow.error["code"] == "timeout"


def test_run_has_the_environment_of_the_release_on_one_host_or_all(shop: Project) -> None:
    release = shop.deploy("status").release
    line = 'echo "$DEPLOY_RELEASE|$GREETING|$TOKEN|$(command -v python)|$(pwd -P)"'
    (told,) = shop.deploy("run", line).of("output")
    assert told["host"] == "web1"
    assert told["line"].startswith(f"{release}|{SETTINGS['env']['GREETING']}|{SECRET['TOKEN']}|")  # type: ignore[index]
    python, folder = told["line"].split("|")[3:]
    assert python == f"{folder}/.venv/bin/python" and folder.endswith(f"/releases/{release}")
    everywhere = shop.deploy("run", "python -c 'import main; print(main.app)'", "--all").of("output")
    assert {event["host"] for event in everywhere} == {"web1", "web2", "web3"}
    assert shop.deploy("run", "-l", "web3", "hostname >/dev/null; false", expect=1).error["code"] == "command_failed"
    own = shop.deploy("run", "exit 66", expect=66)
    assert own.error["code"] == "command_failed" and "66 on web1" in own.error["message"], "that is the command's own"


def test_standard_input_goes_there_when_it_is_asked_for(shop: Project) -> None:
    process = subprocess.run(
        [*shop.command("run", "wc -c"), "--stdin"],
        cwd=shop.folder,
        input=b"x" * 300_000,
        capture_output=True,
        timeout=60,
    )
    assert process.returncode == 0 and b'"line": "300000"' in process.stdout, process


def test_its_own_bytes_come_out_and_events_go_elsewhere(shop: Project) -> None:
    command = [*shop.command("run", "cat; printf '\\377\\0'; echo its error >&2; exit 3"), "--raw", "--stdin"]
    done = subprocess.run(command, cwd=shop.folder, input=b"\xfe\n", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, b"\xfe\n\xff\0")
    assert b"its error\n" in done.stderr and b'"run.finished"' in done.stderr


def test_input_that_nobody_reads_is_said(shop: Project) -> None:
    command = shop.command("run", "cat")
    done = subprocess.run(command, cwd=shop.folder, input="x", text=True, capture_output=True, timeout=60, check=True)
    assert "--stdin" in done.stdout


def test_a_command_has_this_terminal_and_its_keys(shop: Project) -> None:
    script = "trap 'exit 9' INT; test -t 0 && stty size && read answer && echo got:$answer; while :; do sleep 0.1; done"
    with Terminal(shop.command("run", script)[:-2], shop.folder) as terminal:
        terminal.until("33 111")
        terminal.types("per\tsonal\n")
        terminal.until("got:per")
        terminal.types("\x03")
        assert terminal.end() == 9


def test_a_shell_on_a_host_ends_with_its_own_status(shop: Project) -> None:
    with Terminal(shop.command("shell", "web2")[:-2], shop.folder) as terminal:
        terminal.until("# ")
        terminal.types("echo $((40 + 2))-$TERM; exit 7\n")
        terminal.until("42-xterm")
        assert terminal.end() == 7
