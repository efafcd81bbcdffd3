"""The controller requests every operation that agents have, and names no other."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import deployer
from deployer.agent.model import messages
from deployer.agent.model.typed import Operation
from deployer.remote.messages import deadlines
from deployer.remote.messages.responses import OPERATIONS

UNREQUESTED = {"release.discard": "for a release that was begun and never ended; a later begin of it clears it as well"}
"""Operations that nothing in the controller requests, and why."""


def requested() -> Iterator[str]:
    """The names of the operations whose declarations the source of the controller uses."""
    folder = Path(deployer.__file__).parent
    sources = [
        path.read_text(encoding="utf-8") for path in folder.rglob("*.py") if folder / "agent" not in path.parents
    ]
    for module in pkgutil.iter_modules(messages.__path__):
        declared = vars(importlib.import_module(f"{messages.__name__}.{module.name}"))
        users = [source for source in sources if re.search(rf"model\.messages(\.| import ){module.name}\b", source)]
        for constant, value in declared.items():
            used = any(re.search(rf"\b(wire\.|, |\(|import .*){constant}\b", source) for source in users)
            if isinstance(value, Operation) and used:
                yield value.name


def test_the_controller_requests_every_operation() -> None:
    assert set(OPERATIONS) - set(requested()) == set(UNREQUESTED)


@pytest.mark.parametrize("table", [deadlines._LONG, deadlines._DEFAULT_TIMEOUTS_S])
def test_tables_of_the_controller_name_only_operations_that_exist(table: object) -> None:
    assert isinstance(table, dict | frozenset)
    assert set(table) <= set(OPERATIONS)
