"""Keeps a mix of requests going until it is told to stop, or its own bounds are reached."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable

from deployer.probe.accounting import Tally
from deployer.probe.http.connection import Connection, connect
from deployer.probe.http.failure import FailedRequest, UnansweredRequest
from deployer.probe.http.reader import Reader
from deployer.probe.http.response import Response, read_response
from deployer.probe.http.target import Target
from deployer.probe.http.websocket import TELLING, ClosedWebSocket, WebSocket
from deployer.probe.kinds import Kind
from deployer.probe.mixes import ECHO_EVERY, GAPS, Mix, Shares, shares

_MOST_AT_ONCE = 500
_PAUSE_AFTER_FAILURE = 0.5
_PAUSE_BEFORE_RECONNECT = 0.02


class Traffic:
    """Requests to `target` at about `rate` a second, each to be answered within `limit` seconds.

    Ends by itself after `seconds` or `count` requests.
    """

    def __init__(
        self, target: Target, mix: Mix, book: Tally, *, rate: float, limit: float, seconds: float, count: int
    ) -> None:
        self._target = target
        self._mix = mix
        self._book = book
        self._shares: Shares = shares(mix, rate)
        self._limit = limit
        self._ends = time.monotonic() + seconds
        self._count = count
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begins no more requests; those under way are still judged."""
        self._stop.set()

    async def run(self) -> None:
        """Runs until stopped, and until every request under way has ended (at most `limit` seconds more)."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fresh())
            for number in range(self._shares.kept):
                tasks.create_task(self._kept(number))
            for _ in range(self._shares.websockets):
                tasks.create_task(self._websocket())

    # --- new connections

    async def _fresh(self) -> None:
        """Begins requests on an even beat; a machine that stalls is not answered with a burst."""
        free = asyncio.Semaphore(_MOST_AT_ONCE)
        beat = 1 / self._shares.fresh_per_second
        due = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for kind in itertools.cycle(self._mix.fresh):
                if await self._stopped_within(due - time.monotonic()):
                    return
                due = max(due + beat, time.monotonic() - 10 * beat)
                await free.acquire()
                task = tasks.create_task(self._on_new_connection(kind))
                task.add_done_callback(lambda _: free.release())

    async def _on_new_connection(self, kind: Kind) -> None:
        await self._judged(kind, once(self._target, kind))

    # --- one connection, reused after idle gaps

    async def _kept(self, number: int) -> None:
        kept = _KeptConnection(self._target, self._mix.kept, self._book)
        gaps = itertools.islice(itertools.cycle(GAPS), number % len(GAPS), None)
        try:
            for gap in gaps:
                if await self._stopped_within(gap):
                    return
                await self._judged(self._mix.kept, kept.exchange())
        finally:
            kept.drop()

    # --- websockets

    async def _websocket(self) -> None:
        while not await self._stopped_within(_PAUSE_BEFORE_RECONNECT):
            begun = time.monotonic()
            try:
                async with asyncio.timeout(self._limit):
                    websocket = await WebSocket.open(self._target)
            except FailedRequest as failed:
                self._book.failed("websocket", time.monotonic() - begun, failed)
                await self._stopped_within(_PAUSE_AFTER_FAILURE)
            except TimeoutError:
                self._book.failed("websocket", time.monotonic() - begun, self._late())
            else:
                self._book.answered("websocket", time.monotonic() - begun, 0.0, websocket.release)
                await self._hold(websocket)

    async def _hold(self, websocket: WebSocket) -> None:
        begun = time.monotonic()
        try:
            for number in itertools.count():
                await websocket.idle(ECHO_EVERY)
                if await self._stopped_within(0.0):
                    return await websocket.close()
                begun = time.monotonic()
                async with asyncio.timeout(self._limit):
                    await websocket.echo(str(number))
                self._book.answered("websocket", time.monotonic() - begun, 0.0, websocket.release)
        except ClosedWebSocket as closed:
            if closed.code in TELLING:
                self._book.count_reconnect("websocket", closed.code)
            else:
                self._book.failed("websocket", 0.0, FailedRequest("closed", str(closed), websocket.release))
            await websocket.close()
        except FailedRequest as failed:
            self._book.failed("websocket", time.monotonic() - begun, failed)
        except TimeoutError:
            self._book.failed("websocket", time.monotonic() - begun, self._late(websocket.release))
        finally:
            websocket.drop()

    # --- common to all

    async def _judged(self, kind: Kind, exchange: Awaitable[tuple[Response, bytes]]) -> None:
        """Awaits one exchange and books it, whatever comes of it."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._limit):
                response, sent = await exchange
            elapsed = time.monotonic() - begun
            kind.judge(response, sent)
            self._book.answered(kind.name, elapsed, kind.asks_s, response.release)
        except FailedRequest as failed:
            self._book.failed(kind.name, time.monotonic() - begun, failed)
        except TimeoutError:
            self._book.failed(kind.name, time.monotonic() - begun, self._late())

    def _late(self, release: str = "") -> FailedRequest:
        return FailedRequest("late", f"not answered within {self._limit:g} s", release)

    async def _stopped_within(self, seconds: float) -> bool:
        """Sleeps for `seconds`; True as soon as the traffic is to stop."""
        if time.monotonic() >= self._ends or self._book.requests >= self._count:
            self._stop.set()
        if seconds > 0 and not self._stop.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._stop.wait()
            except TimeoutError:
                pass
        return self._stop.is_set()


class _KeptConnection:
    """One keep-alive connection, opened when needed and replaced when it has gone stale."""

    def __init__(self, target: Target, kind: Kind, book: Tally) -> None:
        self._target = target
        self._kind = kind
        self._book = book
        self._connection: Connection | None = None

    async def exchange(self) -> tuple[Response, bytes]:
        """One request: on the open connection; on a new one if there is none, or it turns out to be stale."""
        if self._connection is not None and self._connection.ended():
            self._stale("closed while idle")
        if self._connection is not None:
            try:
                return await self._on(self._connection)
            except UnansweredRequest as unanswered:
                self._stale(str(unanswered))
        self._connection = await connect(self._target)
        return await self._on(self._connection)

    def drop(self) -> None:
        """Closes whatever is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _on(self, connection: Connection) -> tuple[Response, bytes]:
        reusable = False
        try:
            response, sent = await _exchange(connection, Reader(connection), self._target, self._kind, keep=True)
            reusable = response.reusable
        finally:
            if not reusable:
                self.drop()
        return response, sent

    def _stale(self, why: str) -> None:
        self.drop()
        self._book.stale(self._kind.name, why)


async def once(target: Target, kind: Kind) -> tuple[Response, bytes]:
    """One request on a new connection: the response, and the body that was sent. Raises FailedRequest."""
    connection = await connect(target)
    try:
        return await _exchange(connection, Reader(connection), target, kind)
    finally:
        connection.close()


async def _exchange(
    connection: Connection, reader: Reader, target: Target, kind: Kind, *, keep: bool = False
) -> tuple[Response, bytes]:
    body = os.urandom(512) if kind.method == "POST" else b""
    path = target.path if kind.path is None else target.below(kind.path)
    try:
        await connection.send(target.request(kind.method, path, body, keep=keep))
    except FailedRequest as error:
        raise UnansweredRequest(error.cause, error.detail) from error
    return await read_response(reader), body
