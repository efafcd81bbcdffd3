"""The frames that controller and agent exchange; shared by both. docs/protocol.md tells the whole story in prose.

A frame is eight bytes (two unsigned 32-bit big-endian lengths), a JSON object (the head) and bytes (the body):

    | head length | body length | {"t": …, …} | body |

`t` says what the frame is. Controller to agent: hello, request, data, cancel, beat, bye. Agent to controller:
welcome, event, result, error, credit, beat, noise.
"""

from __future__ import annotations

import json
import struct
import time
from typing import Any, Callable, NamedTuple

VERSION = 1

LEASE = 10.0  # seconds an agent may act without a word from its controller
GRACE = 5.0  # seconds past the lease before the agent takes the controller for dead
BEAT = 1.0  # seconds between heartbeats

MAX_HEAD = 16 << 20  # bytes of one frame's JSON
MAX_BODY = 1 << 20  # bytes of one frame's body
CHUNK = 1 << 16  # bytes of a body that travel in one data frame
WINDOW = 4 << 20  # bytes of one request's body that may be on their way, unconsumed

_LENGTHS = struct.Struct(">II")
_READ = 1 << 16


class ProtocolError(Exception):
    """The other side sent what is no frame."""


class Frame(NamedTuple):
    """One frame: its JSON object and its bytes."""

    head: dict[str, Any]
    body: bytes

    @property
    def kind(self) -> str:
        """What the frame is (key `t`)."""
        return str(self.head.get("t", ""))


def encode(head: dict[str, Any], body: bytes = b"") -> bytes:
    """The frame as bytes. Raises ProtocolError beyond the limits, TypeError for a head that is not JSON."""
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    if len(text) > MAX_HEAD or len(body) > MAX_BODY:
        raise ProtocolError("a frame of %d + %d bytes is too large" % (len(text), len(body)))
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


class Decoder:
    """Takes bytes as they come and gives frames.

    Args:
        receive: `receive(n)` returns 1 to n bytes, blocking, or nothing at the end of the stream.
        rest: bytes that were read before and belong to the first frame.
    """

    def __init__(self, receive: Callable[[int], bytes], rest: bytes = b"") -> None:
        self._receive = receive
        self._buffer = bytearray(rest)

    def next(self) -> Frame | None:
        """The next frame; None at the end of the stream, even in the middle of a frame. Raises ProtocolError."""
        if not self._fill(_LENGTHS.size):
            return None
        head_size, body_size = _LENGTHS.unpack_from(self._buffer)
        if head_size > MAX_HEAD or body_size > MAX_BODY:
            raise ProtocolError("a frame of %d + %d bytes is too large" % (head_size, body_size))
        start = _LENGTHS.size
        if not self._fill(start + head_size + body_size):
            return None
        with memoryview(self._buffer) as view:
            text = bytes(view[start : start + head_size])
            body = bytes(view[start + head_size : start + head_size + body_size])
        del self._buffer[: start + head_size + body_size]
        return Frame(_object(text), body)

    def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            data = self._receive(_READ)
            if not data:
                return False
            self._buffer += data
        return True


def _object(text: bytes) -> dict[str, Any]:
    try:
        head = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"a frame's head is not JSON: {error}") from None
    if not isinstance(head, dict):
        raise ProtocolError("a frame's head is not a JSON object")
    return head


def clock() -> float:
    """Seconds on a clock that also counts the time a machine sleeps, and that nobody can set."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """How long the agent may still act: `seconds` from the last word of its controller. Thread-safe."""

    def __init__(self, seconds: float = LEASE, grace: float = GRACE) -> None:
        self.seconds = seconds
        self.grace = grace
        self._renewed = clock()

    def renew(self) -> None:
        """The controller was heard."""
        self._renewed = clock()

    def left(self) -> float:
        """Seconds left; negative when it has run out."""
        return self._renewed + self.seconds - clock()

    def given_up(self) -> bool:
        """Whether the grace is over too."""
        return self.left() < -self.grace
