"""docs/operations.md, the agent and the controller name the same operations, with the same arguments."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.operations import documented, keys_read, named_in, registered

import deployer
from deployer.agent.operation import find
from deployer.remote.messages import deadlines, responses

REQUESTED = named_in(Path(deployer.__file__).parent)


def test_the_docs_list_exactly_the_operations_that_agents_have() -> None:
    assert set(documented()) == set(registered())


UNREQUESTED = {
    "release.discard": "for a release that was begun and never ended; a later begin of it clears it as well",
    "schedules.state": "requested by `rollout.steps.survey`, which puts the name together",
}
"""Operations that no request in the controller's source names, and why."""


def test_the_controller_requests_every_operation() -> None:
    assert set(registered()) - set(REQUESTED) == set(UNREQUESTED)


@pytest.mark.parametrize("name", sorted(REQUESTED))
def test_what_the_controller_requests_exists(name: str) -> None:
    find(name)
    assert name in documented(), REQUESTED[name]


@pytest.mark.parametrize(
    "table", [responses._SHAPES, responses._REQUESTED, deadlines._LONG, deadlines._DEFAULT_TIMEOUTS_S]
)
def test_tables_of_the_controller_name_only_operations_that_exist(table: object) -> None:
    assert isinstance(table, dict | frozenset)
    assert set(table) <= set(registered())


@pytest.mark.parametrize("name", sorted(registered()))
def test_the_docs_name_every_argument_that_the_agent_reads(name: str) -> None:
    assert keys_read(name) <= documented()[name].arguments
