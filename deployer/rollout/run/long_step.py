"""A step that has no line of its own unless it takes long: then signs of life show it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from deployer.events import Bus, StepFinished, StepStarted


@contextmanager
def long_step(bus: Bus, step: str) -> Iterator[None]:
    """Emits the events around a step of this machine; `step` is one of `report.lines.UNREMARKED`."""
    began = time.monotonic()
    bus.emit(StepStarted(step))
    ok = False
    try:
        yield
        ok = True
    finally:
        bus.emit(StepFinished(step, ok=ok, duration_s=round(time.monotonic() - began, 3)))
