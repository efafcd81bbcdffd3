"""What a user can get wrong at the command line: exit 2, one clear error, never a traceback."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.typed import lines

from deployer.cli.options import Common
from deployer.cli.project import load
from deployer.cli.run import carry_out
from deployer.cli.values import rolling_keys
from deployer.errors import RolloutError


def one_error(result: Any, *words: str) -> str:
    """Exit 2, exactly one error on stderr with these words, and no traceback anywhere."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    told: str = result.stderr
    assert told.lower().count("error: ") + told.count("Error ") == 1, told
    for word in words:
        assert word in told, told
    return told


@pytest.mark.parametrize("command", ["push", "plan", "status", "hosts", "doctor", "verify", "reload", "trust", "setup"])
def test_an_env_that_is_not_there(deploy: Any, project: Path, command: str) -> None:
    one_error(deploy(command, "prud"), "prud", "prod", "next:")


@pytest.mark.parametrize("env", ["../prod", "prod/", "-", "a b"])
def test_a_name_that_no_environment_may_have_is_quoted(deploy: Any, project: Path, env: str) -> None:
    assert one_error(deploy("hosts", "--", env), "environment", "next:").startswith(f"error: {env!r} ")


def test_an_empty_name_is_no_environment(deploy: Any, project: Path) -> None:
    one_error(deploy("hosts", "--", ""), "environment", "DEPLOY_ENV", "default_env:")


def test_no_deploy_yaml_anywhere(deploy: Any) -> None:
    one_error(deploy("push", "prod"), "deploy.yaml", "deploy init")


def test_no_env_named_anywhere(deploy: Any, project: Path) -> None:
    one_error(deploy("push"), "next:")


def test_the_env_comes_from_the_settings_or_the_environment(
    deploy: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOY_ENV", "prod")
    assert deploy("hosts").exit_code == 0
    monkeypatch.delenv("DEPLOY_ENV")
    (project / "deploy.yaml").write_text("app: shop\ndefault_env: prod\n")
    assert deploy("hosts").exit_code == 0


def test_an_unknown_key_names_file_line_and_the_nearest_key(deploy: Any, project: Path) -> None:
    (project / "deploy.yaml").write_text("app: shop\ninstanses: 2\n")
    one_error(deploy("push", "prod"), "deploy.yaml:2", "instances")


@pytest.mark.parametrize("wait", ["soon", "10 minutes", "-1", "1d", ""])
@pytest.mark.parametrize("command", ["push", "reload", "rollback"])
def test_a_wait_that_is_no_duration(deploy: Any, project: Path, command: str, wait: str) -> None:
    one_error(deploy(command, "prod", f"--wait={wait}"), "--wait", "duration")


def test_an_output_that_is_none_of_three(deploy: Any, project: Path) -> None:
    one_error(deploy("hosts", "prod", "--output", "xml"), "--output", "rich, plain, json")


def test_an_option_that_is_not_there(deploy: Any, project: Path) -> None:
    one_error(deploy("push", "prod", "--forse"), "--forse")


def test_a_limit_that_matches_nothing(deploy: Any, project: Path) -> None:
    one_error(deploy("hosts", "prod", "-l", "db*"), "db*")


def test_ref_and_release_exclude_each_other(deploy: Any, project: Path) -> None:
    one_error(deploy("push", "prod", "--ref", "main", "--release", "current"), "--ref", "--release")


def test_a_question_without_a_terminal_is_no_hang(deploy: Any, project: Path) -> None:
    one_error(deploy("hosts", "prod", "-K"), "terminal", "DEPLOY_SUDO_PASSWORD")


def test_yes_answers_and_no_terminal_refuses(deploy: Any) -> None:
    Common(yes=True).confirm("Really?")
    with pytest.raises(Exception, match="no terminal is attached") as caught:
        Common().confirm("Really?")
    assert getattr(caught.value, "exit_status", None) == 2


def test_a_regular_expression_that_is_none(deploy: Any, project: Path) -> None:
    one_error(deploy("logs", "prod", "--grep", "[a"), "regular expression")


def test_an_error_in_json_lines_is_the_last_line_alone(deploy: Any, project: Path) -> None:
    result = deploy("push", "prud", "--output", "json")
    told = lines(result)
    assert result.exit_code == 2 and result.stderr == ""
    assert told[-1]["event"] == "run.finished" and told[-1]["exit_status"] == 2
    assert told[-1]["outcome"] == "refused" and told[-1]["error"]["hint"]


def test_a_fault_of_the_program_is_told_as_such_and_ends_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def work(invocation: Any) -> None:
        raise ZeroDivisionError("should not have happened")

    with pytest.raises(Exception) as ended:
        carry_out("push", Common(output="json"), work)
    out, err = capsys.readouterr()
    assert getattr(ended.value, "exit_code", None) == 1
    assert '"event": "run.finished"' in out and '"exit_status": 1' in out and "ZeroDivisionError" in out
    assert "Traceback" in err


def test_ctrl_c_once_winds_up_and_twice_stops(capsys: pytest.CaptureFixture[str]) -> None:
    def winds_up(invocation: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert invocation.stop.wait(5)
        raise RolloutError("put back")

    with pytest.raises(Exception) as ended:
        carry_out("push", Common(), winds_up)
    assert getattr(ended.value, "exit_code", None) == 5
    assert "winding up" in capsys.readouterr().err

    def never_ends(invocation: Any) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")

    with pytest.raises(Exception) as ended:
        carry_out("push", Common(), never_ends)
    assert getattr(ended.value, "exit_code", None) == 6, "130 would say that it was wound up"


def test_a_terminal_that_closes_is_as_one_ctrl_c() -> None:
    """The kernel and the shell both send SIGHUP: the second must not cut the wind-up short."""

    def work(invocation: Any) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
        assert invocation.stop.wait(20)

    # Tests that were started by nohup ignore it, and so does deploy.
    before = signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        carry_out("push", Common(output="json"), work)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    carry_out("hosts", Common(output="json"), lambda invocation: None)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


PROGRAM = """
import sys
from deployer.cli.options import Common
from deployer.cli.run import carry_out
from deployer.events import Output
import deployer.cli.app

def work(invocation):
    bus, stop = invocation.bus, invocation.stop
    sys.stdin.read()
    for number in range(3):
        bus.emit(Output(f"line {number} \\u2713"))
    bus.flush()
    print("asked to stop" if stop.is_set() else "went on", file=sys.stderr)

deployer.cli.app.app = lambda: carry_out("logs", Common(output="plain"), work)
deployer.cli.main()
"""


def test_a_pipe_that_closes_ends_it_without_a_word_about_pipes() -> None:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin and process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == "asked to stop\n"
        assert process.wait(60) == 0


def test_a_terminal_that_knows_ascii_only_gets_question_marks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=b"",
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert b"line 0 ?" in done.stdout and done.stderr == b"went on\n"


def test_on_a_terminal_a_question_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `no` is an answer: exit 2, nothing was done. The question is not part of the output."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from deployer.cli.options import Common\n"
                "from deployer.errors import UsageError\n"
                "try:\n    Common().confirm('Do they match?')\n"
                "except UsageError as error:\n    print(error)\n",
            ],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(ours, b"n\n")
        out, question = process.communicate(timeout=60)
    os.close(ours)
    assert "Do they match?" in question and out == "stopped: the answer was no\n"


def test_a_number_of_lines_is_at_least_one(deploy: Any, project: Path) -> None:
    result = deploy("logs", "prod", "-n", "-5")
    assert result.exit_code == 2 and "--lines" in result.output


@pytest.mark.parametrize("rate", ["-5", "0", "5000"])
@pytest.mark.parametrize("command", ["push", "reload", "rollback"])
def test_a_rate_that_is_none_is_told_as_one(deploy: Any, project: Path, command: str, rate: str) -> None:
    told = one_error(deploy(command, "prod", "--rate", rate, "--probe", "http://shop.example.com/"), "--rate: ")
    assert "--probe" not in told and "--rate takes requests per second, 0.1 to 1000" in told


def test_a_url_of_the_probe_that_is_none_is_told_as_one(deploy: Any, project: Path) -> None:
    one_error(deploy("push", "prod", "--rate", "5", "--probe", "shop"), "--probe: ", "is not a valid URL")


@pytest.mark.parametrize("words", [(), ("--probe", "off")])
def test_a_rate_without_a_probe(deploy: Any, project: Path, words: tuple[str, ...]) -> None:
    one_error(deploy("push", "prod", "--rate", "5", *words), "--rate", "needs --probe URL")


def test_the_probe_of_the_settings_can_be_left_out(project: Path) -> None:
    (project / "deploy.yaml").write_text(
        "app: shop\nrolling: {probe: {url: http://shop.example.com/, max_failed: 2}}\n"
    )
    assert load("prod", Common(), rolling_keys(None, None)).topology.settings.rolling.probe is not None
    off = load("prod", Common(), rolling_keys("2", None, probe="off")).topology.settings.rolling
    assert off.probe is None and off.waves == (2,)


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ("{server: gunicorn+uvicorn}", ("gunicorn", "python: {with:")),
        ("{\n  server: uvicorn,\n  args: [--reload]}", ("deploy.yaml:4", "runtime.args has --reload")),
        ("{\n  args: [--ssl-keyfile, k.pem]}", ("deploy.yaml:3", "plain HTTP", "next:  take --ssl-keyfile out")),
        (
            "{\n  server: gunicorn}",
            ("deploy.yaml:3", "it is an ASGI app", "next:  write runtime: {server: gunicorn+uv"),
        ),
        ("{\n  worker_class: gevent}", ("deploy.yaml:3", "no worker classes", "take worker_class out")),
    ],
)
def test_render_refuses_what_a_push_would_and_writes_nothing(
    deploy: Any, project: Path, runtime: str, words: tuple[str, ...]
) -> None:
    (project / "deploy.yaml").write_text(f"app: shop\nruntime: {runtime}\n")
    one_error(deploy("render", "prod", "--out", "drawn"), *words)
    assert not (project / "drawn").exists()


@pytest.mark.parametrize("words", [("run", "prod", "python", "-c", "1"), ("exec", "prod", "uptime", "-l", "web1")])
def test_whose_an_option_is_is_not_guessed(deploy: Any, project: Path, words: tuple[str, ...]) -> None:
    one_error(deploy(*words), f"an option of {words[2]} or of deploy?", f"{words[0]} prod -- {words[2]}")


def test_a_line_for_the_shell_may_have_options_behind_it(deploy: Any, project: Path) -> None:
    one_error(deploy("exec", "prod", "df -h", "-l", "nope"), "nope", "neither a host nor a group")


def test_a_long_option_behind_a_command_is_deploys(deploy: Any, project: Path) -> None:
    one_error(deploy("exec", "prod", "uptime", "--limit", "nope"), "nope", "neither a host nor a group")


@pytest.mark.parametrize("command", [("push",), ("remove", "--yes"), ("exec",)])
def test_an_empty_limit_is_not_everybody(deploy: Any, project: Path, command: tuple[str, ...]) -> None:
    """`-l "$HOST"` with nothing in the variable."""
    name, *options = command
    words = ["--", "true"] if name == "exec" else []
    one_error(deploy(name, "prod", "-l", "", *options, *words), "the pattern '' is empty")


def test_waves_without_a_size_are_none(deploy: Any, project: Path) -> None:
    one_error(deploy("push", "prod", "--waves", ""), "--waves", "needs at least one size")


def test_a_misspelt_group_of_balancers_does_not_make_the_push_go_round_them(deploy: Any, project: Path) -> None:
    inventory = "web: {hosts: {web1: {}}}\nbalancer: {hosts: {lb1: {}}}\n"
    (project / "inventories" / "prod.yaml").write_text(inventory)
    one_error(deploy("push", "prod"), "the inventory has a group balancer, but no group balancers", "next:")
    with (project / "deploy.yaml").open("a") as settings:
        settings.write("balancer: {hosts: balancer}\n")
    assert deploy("hosts", "prod").exit_code == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{env: NO_SUCH}", ("NO_SUCH, which is not set", "export")),
        ("{command: exit 3}", ("exit status 3",)),
    ],
)
def test_a_secret_that_cannot_be_had_names_its_line(
    deploy: Any, project: Path, source: str, words: tuple[str, ...]
) -> None:
    (project / "deploy.yaml").write_text(f"app: shop\nsecrets:\n  KEY: {source}\n")
    one_error(deploy("push", "prod"), "deploy.yaml:3", "secrets.KEY", *words)
