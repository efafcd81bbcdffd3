"""What a person reads of an error: nothing twice, and each list under its own title."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import deployer
from deployer.errors import DeployError, RolloutError, UnreachableError
from deployer.events import CheckFinished, Output
from deployer.remote.fleet import together
from deployer.report.lines import error_block, line_of
from deployer.report.shown_output import ShownOutput

PACKAGE = Path(deployer.__file__).parent


def test_lines_that_were_shown_are_not_shown_again() -> None:
    error = RolloutError("the release hook failed", log=["Traceback", "  boom"])
    shown = ShownOutput()
    shown(Output("Traceback", host="web1", step="release hook"))
    assert not shown.has_all(error.log)
    shown(Output("  boom", host="web1", step="release hook"))
    assert shown.has_all(error.log)
    assert "boom" in error_block(error) and "boom" not in error_block(error, log_is_shown=True)


def test_output_that_nobody_saw_is_shown_with_the_error() -> None:
    shown = ShownOutput()
    shown(Output("error: pg_config", host="web1", step="build"))
    assert not shown.has_all(["error: pg_config"])


def refusal(host: str) -> DeployError:
    return UnreachableError(f"{host} does not let root in", host=host, code="auth", hint=f"ssh-copy-id root@{host}")


def test_hosts_that_fail_alike_have_one_hint_and_a_list_of_their_own() -> None:
    error = together({host: refusal(host) for host in ("web1", "web2", "web3", "lb1")})
    assert error.hint == "ssh-copy-id root@web1 (likewise for the others)"
    block = error_block(error)
    assert "its last lines" not in block and "host by host:" in block and block.count("ssh-copy-id") == 1


def test_a_check_that_fails_is_one_line() -> None:
    line = line_of(CheckFinished("test_a.py::test", "web1", "failed", "assert 1\n  == 2\n\n +  where"))
    assert line is not None and "\n" not in line and line.endswith("assert 1 == 2 + where")


def test_every_message_has_a_subject() -> None:
    """`error: is not valid YAML`: a reader asks what is not."""
    verbs = re.compile(r"(is|are|has|have|names|cannot|must|needs|does|was|lies) ")
    bare = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if not (name in ("error", "DeployError") or (name.endswith("Error") and name[:-5] not in ("Value", "Op"))):
                continue
            first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and verbs.match(first.value):
                bare.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {first.value}")
    assert not bare, "\n".join(bare)
