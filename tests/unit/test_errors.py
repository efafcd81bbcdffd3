"""Errors keep what they know, whatever they become."""

from __future__ import annotations

from deployer.errors import RolloutError, SettingsError
from deployer.events import Bus, Event, Output, Warned, naming_environment
from deployer.remote.errors import AgentError


def test_another_kind_keeps_every_fact() -> None:
    facts = {"host": "web1", "step": "plan", "file": "deploy.yaml", "line": 3, "cause": "why", "log": ("last",)}
    found = SettingsError("wrong", hint="write this", code="word", **facts).as_kind(RolloutError, hint="not this")  # type: ignore[arg-type]
    assert type(found) is RolloutError and found.exit_status == 5
    assert vars(found) == {"message": "wrong", "hint": "write this", "code": "word", **facts}


def test_the_hint_is_for_one_that_has_none() -> None:
    assert AgentError("no_space", "the disk is full").as_kind(RolloutError, hint="make room").hint == "make room"


def test_the_environment_is_named_where_a_person_reads_it() -> None:
    error = RolloutError("no host", cause="see deploy doctor {env}", hint="deploy setup {env} --replace")
    error.name_environment("prod")
    assert (error.cause, error.hint) == ("see deploy doctor prod", "deploy setup prod --replace")
    unknown = RolloutError("no host", hint="deploy setup {env} --replace")
    unknown.name_environment(None)
    assert unknown.hint == "deploy setup --replace" and unknown.cause is None


def test_warnings_name_it_too_and_output_is_left_alone() -> None:
    shown: list[Event] = []
    bus = Bus(naming_environment(shown.append, lambda: "prod"))
    bus.emit(Warned("the lock is held", hint="deploy status {env}"))
    bus.emit(Output("{env}"))
    assert isinstance(shown[0], Warned) and shown[0].hint == "deploy status prod"
    assert isinstance(shown[1], Output) and shown[1].line == "{env}"
