"""A lock whose agent is stopped: it ends by no waiting, so every command says so and what to type."""

from __future__ import annotations

import time

import pytest

from deployer.agent.model.messages.lock import Holder
from deployer.rollout.run.holder import holder_text, is_stuck

HOLDER: Holder = {
    "who": "ana@ci", "run": "R1", "command": "push", "since": time.time(), "pid": 4711, "lost": None, "until": None,
    "silent": None,
}  # fmt: skip


def test_a_holder_that_works_is_not_stuck() -> None:
    assert not is_stuck(HOLDER)
    assert "no sign of life" not in holder_text(HOLDER)


@pytest.mark.parametrize("lost", [None, 1000.0])
def test_a_stopped_agent_is_named_with_its_process(lost: float | None) -> None:
    stuck: Holder = {**HOLDER, "silent": 130, "lost": lost, "until": lost}
    assert is_stuck(stuck)
    text = holder_text(stuck)
    assert "process 4711" in text and "2 min 10 s" in text and "winds up" not in text
