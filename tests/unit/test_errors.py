"""Errors keep what they know, whatever they become."""

from __future__ import annotations

import pytest

from deployer.errors import DeployError, InventoryError, RolloutError, SettingsError, UsageError
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


@pytest.mark.parametrize(
    ("kind", "hint", "place", "shown"),
    [
        (
            SettingsError,
            "did you mean port?",
            (3,),
            "did you mean port? Write that in f.yaml:3, then type deploy plan prod",
        ),
        (SettingsError, "write port: 80", (3,), "write port: 80 (f.yaml:3); then type deploy plan prod"),
        (SettingsError, None, (3,), "change f.yaml:3, then type deploy plan prod"),
        (SettingsError, "export KEY=…", (), "export KEY=…; then type deploy plan prod"),
        (InventoryError, "set ansible_host", (7,), "set ansible_host (f.yaml:7); then type deploy hosts prod"),
        (InventoryError, None, (), "deploy hosts prod shows it once that is changed"),
        (InventoryError, "deploy init writes one", (), "deploy init writes one"),
        (UsageError, "add --yes", (), "add --yes"),
    ],
)
def test_an_advised_edit_says_where_and_which_command_shows_whether_it_is_right(
    kind: type[DeployError], hint: str | None, place: tuple[int, ...], shown: str
) -> None:
    error = kind("wrong", hint=hint, **({"file": "f.yaml", "line": place[0]} if place else {}))  # type: ignore[arg-type]
    for _ in range(2):  # doctor names it, and the command line once more
        error.name_environment("prod", "push")
        assert error.hint == shown


def test_without_an_environment_the_command_itself_is_the_one_to_type() -> None:
    error = SettingsError("wrong", hint="write port: 80")
    error.name_environment(None, "dev")
    assert error.hint == "write port: 80; then type deploy dev"
