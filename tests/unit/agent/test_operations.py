"""The table of operations: each is found by its name, in the module that the table says."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer import agent
from deployer.agent import operation
from deployer.agent.operation import MODULES, OpError, find
from deployer.remote.messages.responses import OPERATIONS

FOLDER = Path(agent.__file__).parent
MESSAGES = re.compile(r"from deployer\.agent\.model\.messages import (\w+) as wire")


def registered() -> Iterator[str]:
    """The names of all operations that some function of the agent carries out, by its source."""
    for path in sorted(FOLDER.glob("**/*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "operation":
                spec = node.args[0]
                assert isinstance(spec, ast.Attribute) and isinstance(spec.value, ast.Name)
                module = MESSAGES.search(source)
                assert module is not None
                messages = importlib.import_module(f"deployer.agent.model.messages.{module[1]}")
                yield getattr(messages, spec.attr).name


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


def test_every_declared_operation_is_carried_out_and_no_other() -> None:
    assert set(registered()) == set(OPERATIONS)
