"""Errors keep what they know, whatever they become."""

from __future__ import annotations

from deployer.errors import RolloutError, SettingsError
from deployer.remote.errors import AgentError


def test_another_kind_keeps_every_fact() -> None:
    facts = {"host": "web1", "step": "plan", "file": "deploy.yaml", "line": 3, "cause": "why", "log": ("last",)}
    found = SettingsError("wrong", hint="write this", code="word", **facts).as_kind(RolloutError, hint="not this")  # type: ignore[arg-type]
    assert type(found) is RolloutError and found.exit_status == 5
    assert vars(found) == {"message": "wrong", "hint": "write this", "code": "word", **facts}


def test_the_hint_is_for_one_that_has_none() -> None:
    assert AgentError("no_space", "the disk is full").as_kind(RolloutError, hint="make room").hint == "make room"
