"""docs/operations.md is what the messages and the operations say."""

from __future__ import annotations

from support.operations_page import SECTIONS, page
from support.project import REPOSITORY

from deployer.agent.model.typed import Operation
from deployer.remote.messages.responses import OPERATIONS


def test_the_page_is_as_the_code_says() -> None:
    assert (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8") == page(), "make reference writes it anew"


def test_every_operation_has_its_place_on_the_page() -> None:
    shown = [value.name for _, module in SECTIONS for value in vars(module).values() if isinstance(value, Operation)]
    assert sorted(shown) == sorted(OPERATIONS)
