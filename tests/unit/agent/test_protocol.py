"""Frames as they cross the channel, cut anywhere."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest

from deployer.agent.channel import protocol
from deployer.agent.channel.protocol import Decoder, Frame, Lease, ProtocolError, encode

FRAMES: list[tuple[dict[str, Any], bytes]] = [
    ({"t": "beat", "n": 1}, b""),
    ({"t": "data", "id": 2}, bytes(range(256)) * 40),
    ({"t": "ü", "x": "\n\0"}, b""),
]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1 << 16])
def test_frames_arrive_whole_however_the_channel_cuts_them(size: int) -> None:
    stream = io.BytesIO(b"".join(encode(head, body) for head, body in FRAMES))
    decoder = Decoder(lambda wanted: stream.read(min(size, wanted)))
    assert [decoder.next() for _ in FRAMES] == [Frame(head, body) for head, body in FRAMES]
    assert decoder.next() is None


def test_bytes_that_were_read_with_the_greeting_are_not_lost() -> None:
    data = encode({"t": "welcome"})
    rest = io.BytesIO(data[5:])
    assert Decoder(rest.read, data[:5]).next() == Frame({"t": "welcome"}, b"")


@pytest.mark.parametrize("cut", [1, 8, 12])
def test_a_stream_that_ends_inside_a_frame_just_ends(cut: int) -> None:
    assert Decoder(io.BytesIO(encode({"t": "beat", "n": 1})[:cut]).read).next() is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", protocol.MAX_HEAD + 1, 0),
        struct.pack(">II", 2, protocol.MAX_BODY + 1),
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 3, 0) + b"{x}",
    ],
)
def test_what_is_no_frame_is_refused_before_it_is_waited_for(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder(io.BytesIO(data).read).next()


def test_a_frame_beyond_the_limits_is_not_sent() -> None:
    with pytest.raises(ProtocolError):
        encode({"t": "data"}, bytes(protocol.MAX_BODY + 1))
    with pytest.raises(ProtocolError):
        encode({"t": "result", "value": "x" * protocol.MAX_HEAD})


def test_a_lease_runs_out_and_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(protocol, "clock", lambda: now[0])
    lease = Lease(10.0, 5.0)
    now[0] += 10.5
    assert lease.left() == -0.5 and not lease.given_up()
    now[0] += 5
    assert lease.given_up()
    lease.renew()
    assert lease.left() == 10.0 and not lease.given_up()
