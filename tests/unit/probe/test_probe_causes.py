"""Whatever a server does wrong, the probe says exactly what it was."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from deployer.probe import kinds
from deployer.probe.accounting import Tally
from deployer.probe.http.target import Target
from deployer.probe.kinds import Kind
from deployer.probe.mixes import Mix
from deployer.probe.proven import ProvenReleases
from deployer.probe.receipt import Receipt
from deployer.probe.traffic import Traffic

GOOD_ELSEWHERE = Kind("keepalive", "/echo", lambda response, sent: None, method="POST")


async def probed(
    url: str,
    kind: Kind,
    *,
    kept: Kind = GOOD_ELSEWHERE,
    websocket: bool = False,
    seconds: float = 0.15,
    limit: float = 5.0,
    proven: ProvenReleases | None = None,
) -> Receipt:
    """What the probe says after `seconds` of one kind of request."""
    book = Tally(proven=proven)
    mix = Mix((kind,), kept, websocket)
    await Traffic(Target.parse(url), mix, book, rate=20, limit=limit, seconds=seconds, count=1000).run()
    return book.receipt()


def scenario(server: Any, kind: Kind, **options: Any) -> Receipt:
    async def run() -> Receipt:
        async with server:
            return await probed(server.url, kind, **options)

    return asyncio.run(run())


async def reset_in_the_middle(exchange: Any) -> None:
    exchange.say("200 OK", b"half", length=4000)
    await exchange.writer.drain()
    await asyncio.sleep(0.05)
    exchange.reset()
    exchange.keep = False


async def reset_at_once(exchange: Any) -> None:
    exchange.reset()
    exchange.keep = False


async def close_at_once(exchange: Any) -> None:
    exchange.keep = False


async def cut_short(exchange: Any) -> None:
    exchange.say("200 OK", b"half", length=4000)
    exchange.keep = False


async def cut_between_chunks(exchange: Any) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Release: r1\r\n\r\n5\r\nr1 0\n\r\n")
    exchange.keep = False


async def stream_without_its_end(exchange: Any) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Release: r1\r\n\r\n")
    exchange.writer.write(b"5\r\nr1 0\n\r\n0\r\n\r\n")


async def out_of_order(exchange: Any) -> None:
    exchange.say("503 Service Unavailable", b"no server is available")


async def not_found(exchange: Any) -> None:
    exchange.say("404 Not Found", b"nothing here")


async def too_late(exchange: Any) -> None:
    await asyncio.sleep(1.0)
    exchange.say_json()


async def nobody_knows_who(exchange: Any) -> None:
    exchange.say("200 OK", b'{"release": ""}', release="")


async def two_releases(exchange: Any) -> None:
    exchange.say("200 OK", b'{"release": "r2"}', release="r1")


async def imported_from_another_release(exchange: Any) -> None:
    exchange.say_json(late_release="r2")


async def somebody_elses_body(exchange: Any) -> None:
    exchange.say("200 OK", b"x" * len(exchange.body))


async def not_http(exchange: Any) -> None:
    exchange.writer.write(b"220 smtp.example.com ESMTP\r\n\r\n")
    exchange.keep = False


@pytest.mark.parametrize(
    ("path", "fault", "kind", "cause"),
    [
        ("version", reset_in_the_middle, kinds.GET, "reset"),
        ("version", reset_at_once, kinds.GET, "reset"),
        ("version", close_at_once, kinds.GET, "closed"),
        ("version", cut_short, kinds.GET, "truncated"),
        ("stream", cut_between_chunks, kinds.STREAM, "truncated"),
        ("stream", stream_without_its_end, kinds.STREAM, "truncated"),
        ("version", out_of_order, kinds.GET, "status"),
        ("", out_of_order, kinds.URL, "status"),
        ("", out_of_order, kinds.FOUND, "status"),
        ("", not_found, kinds.FOUND, "status"),
        ("version", not_found, kinds.GET, "status"),
        ("version", too_late, kinds.GET, "late"),
        ("version", nobody_knows_who, kinds.GET, "unproven"),
        ("version", two_releases, kinds.GET, "mixed"),
        ("late", imported_from_another_release, kinds.LATE, "mixed"),
        ("echo", somebody_elses_body, kinds.POST, "body"),
        ("", not_found, kinds.PAGE, "status"),
        ("version", not_http, kinds.GET, "protocol"),
    ],
)
def test_a_fault_is_named(server_with: Any, path: str, fault: Any, kind: Kind, cause: str) -> None:
    receipt = scenario(server_with(**{path: fault}), kind, limit=0.5)
    fresh = receipt.kinds[kind.name]
    assert fresh["requests"] == fresh["failed"] > 0
    assert receipt.causes == {cause: fresh["failed"]}
    assert receipt.failures[0].kind == kind.name
    assert receipt.failures[0].what.startswith(cause + ": ")


def test_a_port_that_nobody_listens_on_refuses() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        receipt = asyncio.run(probed(f"http://127.0.0.1:{closed.getsockname()[1]}", kinds.GET))
    assert receipt.failed == receipt.requests > 2
    assert set(receipt.causes) == {"refused"}


def test_a_whole_answer_followed_by_a_reset_is_no_failure(server_with: Any) -> None:
    async def whole_then_reset(exchange: Any) -> None:
        exchange.say_json()
        await exchange.writer.drain()
        exchange.reset()
        exchange.keep = False

    receipt = scenario(server_with(version=whole_then_reset), kinds.GET)
    assert receipt.requests > 2
    assert receipt.failed == 0


def test_a_missing_page_is_no_failure_where_any_app_is_probed(server_with: Any) -> None:
    receipt = scenario(server_with(**{"": not_found}), kinds.URL)
    assert receipt.requests > 2
    assert receipt.failed == 0


def test_an_idle_connection_that_is_closed_is_stale_and_the_request_is_repeated(server_with: Any) -> None:
    async def answer_then_hang_up(exchange: Any) -> None:
        exchange.say_json()
        exchange.keep = False

    receipt = scenario(server_with(version=answer_then_hang_up), kinds.PAGE, kept=kinds.KEEPALIVE, seconds=0.8)
    assert receipt.failed == 0
    assert receipt.stale == receipt.kinds["keepalive"]["requests"] - 2  # the first on each of two connections


def test_a_reused_connection_that_ends_on_the_request_is_stale_too(server_with: Any) -> None:
    async def only_the_first(exchange: Any) -> None:
        answered = getattr(exchange.reader, "answered", False)
        exchange.reader.answered = True
        if answered:
            exchange.reset()
            exchange.keep = False
        else:
            exchange.say_json()

    receipt = scenario(server_with(version=only_the_first), kinds.PAGE, kept=kinds.KEEPALIVE, seconds=0.8)
    assert receipt.failed == 0
    assert receipt.stale > 0


def test_a_server_that_says_it_closes_leaves_nothing_stale(server_with: Any) -> None:
    async def polite(exchange: Any) -> None:
        exchange.say("200 OK", b'{"release": "r1"}', extra="Connection: close\r\n")
        exchange.keep = False

    receipt = scenario(server_with(version=polite), kinds.PAGE, kept=kinds.KEEPALIVE, seconds=0.8)
    assert receipt.kinds["keepalive"]["requests"] > 2
    assert (receipt.failed, receipt.stale) == (0, 0)


def test_when_the_repeated_request_fails_too_it_counts(server_with: Any) -> None:
    answered = 0

    async def dead_after_the_first_two(exchange: Any) -> None:
        nonlocal answered
        answered += 1
        if answered > 2:
            exchange.reset()
        else:
            exchange.say_json()
        exchange.keep = False

    receipt = scenario(server_with(version=dead_after_the_first_two), kinds.PAGE, kept=kinds.KEEPALIVE, seconds=1.0)
    assert receipt.stale > 0
    assert receipt.kinds["keepalive"]["failed"] > 0


@pytest.mark.parametrize("code", [1001, 1012])
def test_a_websocket_that_is_told_to_come_back_does(server_with: Any, code: int) -> None:
    async def told(exchange: Any) -> None:
        await exchange.shake_hands()
        await exchange.echo_messages(1)
        exchange.say_frame(0x8, struct.pack("!H", code))
        exchange.keep = False

    receipt = scenario(server_with(ws=told), kinds.PAGE, websocket=True, seconds=0.8)
    assert receipt.failed == 0
    assert receipt.told >= 1
    assert receipt.kinds["websocket"]["requests"] >= 3  # it came back


@pytest.mark.parametrize("code", [1000, 1006, 1011, None])
def test_a_websocket_that_ends_otherwise_fails(server_with: Any, code: int | None) -> None:
    async def ended(exchange: Any) -> None:
        await exchange.shake_hands()
        await exchange.echo_messages(1)
        if code:
            exchange.say_frame(0x8, struct.pack("!H", code))
        exchange.keep = False

    receipt = scenario(server_with(ws=ended), kinds.PAGE, websocket=True, seconds=0.8)
    assert receipt.told == 0
    assert set(receipt.causes) == {"closed"}
    assert ("without a close frame" in receipt.failures[0].what) == (code is None)


@pytest.mark.parametrize(
    ("fault", "cause"), [(out_of_order, "status"), (reset_at_once, "reset"), (close_at_once, "closed")]
)
def test_a_websocket_that_is_not_accepted_fails(server_with: Any, fault: Any, cause: str) -> None:
    receipt = scenario(server_with(ws=fault), kinds.PAGE, websocket=True)
    assert set(receipt.causes) == {cause}


def test_a_websocket_that_answers_something_else_fails(server_with: Any) -> None:
    async def deaf(exchange: Any) -> None:
        await exchange.shake_hands()
        await exchange.frame()
        exchange.say_frame(0x1, b"what?")
        exchange.keep = False

    receipt = scenario(server_with(ws=deaf), kinds.PAGE, websocket=True, seconds=0.8)
    assert receipt.causes["body"] > 0


def test_only_proven_releases_may_answer_and_the_list_may_grow(server_with: Any, tmp_path: Path) -> None:
    proven = tmp_path / "proven"
    proven.write_text("r0\n")
    receipt = scenario(server_with(), kinds.GET, kept=kinds.KEEPALIVE, seconds=0.3, proven=ProvenReleases(proven))
    assert set(receipt.causes) == {"unproven"}
    assert receipt.failed == receipt.requests == receipt.releases["r1"] > 0

    proven.write_text("r0\nr1\n")
    receipt = scenario(server_with(), kinds.GET, kept=kinds.KEEPALIVE, seconds=0.3, proven=ProvenReleases(proven))
    assert receipt.failed == 0 < receipt.requests
