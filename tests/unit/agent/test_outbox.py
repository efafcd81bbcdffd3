"""What the agent says never makes it wait, even when nobody reads."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from deployer.agent.channel import outbox as outbox_module
from deployer.agent.channel.outbox import Outbox
from deployer.agent.channel.protocol import Decoder


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_frames_come_in_order_and_heartbeats_first(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    box = Outbox(writing)
    box.send({"t": "result", "id": 1})
    box.send({"t": "result", "id": 2})
    box.send({"t": "beat"}, urgent=True)
    box.start()
    decoder = Decoder(lambda size: os.read(reading, size))
    frames = [decoder.next() for _ in range(3)]
    assert [frame and (frame.kind, frame.head.get("id")) for frame in frames] == [
        ("beat", None),
        ("result", 1),
        ("result", 2),
    ]
    assert box.flush(5)


def test_events_are_dropped_when_nobody_reads_and_told_when_somebody_does(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_EVENTS_BOUND", 1 << 17)
    monkeypatch.setattr(outbox_module, "_PATIENCE", 0.05)
    reading, writing = pipe
    box = Outbox(writing)
    box.start()
    began = time.monotonic()
    for number in range(20000):
        box.offer({"t": "event", "n": number, "x": "y" * 100})
    box.send({"t": "result"})
    assert time.monotonic() - began < 10
    assert not box.flush(0.05)
    decoder = Decoder(lambda size: os.read(reading, size))
    seen = 0
    while (frame := decoder.next()) and frame.kind != "result":
        seen += 1
    assert 0 < seen < 20000
    assert box.flush(5)
    box.offer({"t": "event", "n": "last"})
    last = decoder.next()
    assert last is not None and last.head["dropped"] == 20000 - seen


def test_answers_that_pile_up_mean_that_nobody_is_there(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_BOUND", 1 << 18)
    box = Outbox(pipe[1])
    box.start()
    for _ in range(10):
        box.send({"t": "result", "value": "x" * (1 << 16)})
    assert box.lost.is_set()


def test_a_closed_channel_means_that_nobody_is_there(pipe: tuple[int, int]) -> None:
    box = Outbox(pipe[1])
    os.close(pipe[0])
    box.start()
    box.send({"t": "result"})
    assert box.lost.wait(5)
    box.send({"t": "result"})
    began = time.monotonic()
    assert not box.flush(60)
    assert time.monotonic() - began < 5
