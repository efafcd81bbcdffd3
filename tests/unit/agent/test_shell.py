"""Shell text of a user's: one line runs as in `sh -c`, more than one stops at the first command that fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployer.agent import operation
from deployer.agent.model.shell import first_line, shell_argv
from deployer.agent.operation import Context
from deployer.agent.system.process_runner import run


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


@pytest.mark.parametrize(
    ("text", "printed", "status"),
    [
        ("#!/usr/bin/env bash\nset -euo pipefail\nfalse | cat\necho never\n", "", 1),
        ("#!/bin/bash -e\n[[ a == a ]] && echo ${BASH_VERSION:+bash}\nfalse\necho never\n", "bash\n", 1),
        ("#!/usr/bin/env -S bash -e\necho a\nfalse\necho never\n", "a\n", 1),
        ("#!/bin/sh\necho a\nfalse\necho b\n", "a\n", 1),
        ("#!/usr/bin/env bash\necho a\nfalse\necho b\n", "a\n", 1),
        ("#!/bin/bash\nset +e\necho a\nfalse\necho b\n", "a\nb\n", 0),
        ("\n#!/bin/sh\necho a\n", "a\n", 0),
        ("#!/usr/bin/env python3\nimport sys\nprint('it\\'s \"%s\"' % 'a')\nsys.exit(3)\n", 'it\'s "a"\n', 3),
        ('#!/usr/bin/awk -f\nBEGIN { print "a $1"; exit 4 }\n', "a $1\n", 4),
    ],
)
def test_a_first_line_names_the_interpreter(text: str, printed: str, status: int) -> None:
    done = run(shell_argv(text), timeout=20)
    assert (done.stdout, done.exit, done.stderr) == (printed, status, "")


@pytest.mark.parametrize(
    "body, status", [("pass", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getppid(), 15)", 143)]
)
def test_no_file_of_such_text_stays_and_others_cannot_read_it(tmp_path: Path, body: str, status: int) -> None:
    text = f"#!/usr/bin/env python3\nimport os, sys\nprint(oct(os.stat(sys.argv[0]).st_mode & 0o777))\n{body}\n"
    done = run(shell_argv(text), timeout=20, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert (done.stdout, done.exit, list(tmp_path.iterdir())) == ("0o600\n", status, [])


def test_such_text_reads_the_callers_input() -> None:
    done = run(shell_argv("#!/usr/bin/env python3\nprint(input())"), timeout=20, input=b"a line\n")
    assert done.stdout == "a line\n"


def test_a_command_on_a_host_is_such_text_too() -> None:
    answer = operation.find("command.run")(Context(), {"command": "echo a\nfalse\necho b\n"})
    assert (answer["stdout"], answer["exit"]) == ("a\n", 1)


def test_the_first_line_stands_for_the_whole_text() -> None:
    assert first_line("\n  alembic upgrade head\n") == "alembic upgrade head"
    assert first_line("echo migrate\nfalse\n") == "echo migrate …"
    assert first_line("#!/usr/bin/env bash\nset -eu\nmigrate\n") == "set -eu …"
