"""The table of operations: each is found by its name, in the module that the table says."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer import agent
from deployer.agent import operation
from deployer.agent.operation import MODULES, OpError, find

FOLDER = Path(agent.__file__).parent


def registered() -> Iterator[str]:
    """The names of all operations in the source of the agent."""
    for path in sorted(FOLDER.glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "operation":
                name = node.args[0]
                assert isinstance(name, ast.Constant)
                yield str(name.value)


@pytest.mark.parametrize("name", sorted(set(registered())))
def test_every_operation_is_found_by_its_name(name: str) -> None:
    module = importlib.import_module("deployer.agent." + MODULES[name.partition(".")[0]])
    assert find(name).__module__.startswith("deployer.agent.") and module


def test_the_table_names_no_module_without_operations() -> None:
    assert set(MODULES) == {name.partition(".")[0] for name in registered()}


@pytest.mark.parametrize("name", ["nothing.here", "os.system", "balancer", "", ".", "lock.pick"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(OpError) as refused:
        find(name)
    assert refused.value.code == "unknown_operation"
    assert name not in operation._operations
