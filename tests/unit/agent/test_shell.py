"""Shell text of a user's: one line runs as in `sh -c`, more than one stops at the first command that fails."""

from __future__ import annotations

import pytest

from deployer.agent import operation
from deployer.agent.operation import Context
from deployer.agent.process import run
from deployer.agent.shell import first_line, shell_argv


@pytest.mark.parametrize(
    ("text", "printed", "status"),
    [
        ("echo a; false; echo b", "a\nb\n", 0),
        ("\n  echo a; false; echo b\n", "a\nb\n", 0),
        ("echo a\nfalse\necho b\n", "a\n", 1),
        ("echo a\n(exit 3)\necho b", "a\n", 3),
        ("false &&\n  echo never\necho b", "b\n", 0),
        ("if false\nthen echo yes\nelse echo no\nfi", "no\n", 0),
        ("echo a \\\n  b", "a b\n", 0),
    ],
)
def test_more_than_one_line_stops_at_the_first_failure(text: str, printed: str, status: int) -> None:
    done = run(shell_argv(text), timeout=20)
    assert (done.stdout, done.exit) == (printed, status)


def test_a_command_on_a_host_is_such_text_too() -> None:
    answer = operation.find("command.run")(Context(), {"command": "echo a\nfalse\necho b\n"})
    assert (answer["stdout"], answer["exit"]) == ("a\n", 1)


def test_the_first_line_stands_for_the_whole_text() -> None:
    assert first_line("\n  alembic upgrade head\n") == "alembic upgrade head"
    assert first_line("echo migrate\nfalse\n") == "echo migrate …"
