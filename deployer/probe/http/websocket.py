"""A bare websocket client: handshake, masked text, pings answered, close codes read (RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import struct

from deployer.probe.http.connection import Connection, connect
from deployer.probe.http.failure import FailedRequest
from deployer.probe.http.reader import Reader
from deployer.probe.http.response import read_response
from deployer.probe.http.target import Target

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA

# 1001 "going away" and 1012 "service restart" tell a client to come back.
TELLING = frozenset({1001, 1012})


class ClosedWebSocket(Exception):
    """The other side sent a close frame with `code` (1005: none)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"close code {code}")
        self.code = code


class WebSocket:
    """An open websocket. `release` is who accepted it."""

    def __init__(self, connection: Connection, reader: Reader, release: str) -> None:
        self._connection = connection
        self._reader = reader
        self._head: bytes = b""
        self.release = release

    @classmethod
    async def open(cls, target: Target, path: str = "/ws") -> WebSocket:
        """Connects and shakes hands; FailedRequest if that does not work."""
        connection = await connect(target)
        try:
            return await cls._shake_hands(connection, target, path)
        except BaseException:
            connection.close()
            raise

    @classmethod
    async def _shake_hands(cls, connection: Connection, target: Target, path: str) -> WebSocket:
        key = base64.b64encode(os.urandom(16))
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key.decode(),
            "Sec-WebSocket-Version": "13",
        }
        await connection.send(target.request("GET", target.below(path), headers=headers))
        reader = Reader(connection)
        response = await read_response(reader)
        if response.status != 101:
            raise FailedRequest("status", f"{response.status} instead of a websocket", response.release)
        expected = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
        if response.headers.get("sec-websocket-accept") != expected:
            raise FailedRequest("protocol", "the websocket's handshake is wrong", response.release)
        if not response.release:
            raise FailedRequest("unproven", "the websocket names no release (X-Release)")
        return cls(connection, reader, response.release)

    async def echo(self, text: str) -> None:
        """Sends `text` and awaits the same text; ClosedWebSocket or FailedRequest otherwise."""
        with contextlib.suppress(FailedRequest):  # a close frame may still lie unread before the end
            await self._send(_TEXT, text.encode())
        received = await self._message()
        if received != text.encode():
            raise FailedRequest("body", f"the websocket echoed {received[:40]!r}", self.release)

    async def idle(self, seconds: float) -> None:
        """Listens for `seconds`, answering pings; ClosedWebSocket as soon as it is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._message()
        except TimeoutError:
            return
        raise FailedRequest("protocol", "the websocket spoke without being asked", self.release)

    async def close(self) -> None:
        """Says goodbye (1000) and closes; never fails."""
        try:
            async with asyncio.timeout(1.0):
                await self._send(_CLOSE, struct.pack("!H", 1000))
        except (FailedRequest, TimeoutError):
            pass
        finally:
            self._connection.close()

    def drop(self) -> None:
        """Closes the socket without a word."""
        self._connection.close()

    async def _message(self) -> bytes:
        while True:
            opcode, payload = await self._frame()
            if opcode == _TEXT:
                return payload
            if opcode == _PING:
                await self._send(_PONG, payload)
            elif opcode == _CLOSE:
                raise ClosedWebSocket(struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005)
            elif opcode != _PONG:
                raise FailedRequest("protocol", f"a websocket frame with opcode {opcode}", self.release)

    async def _frame(self) -> tuple[int, bytes]:
        """One whole unfragmented frame. A timeout between its parts loses nothing: the head is kept."""
        try:
            if not self._head:
                self._head = await self._reader.exactly(2)
            length = self._head[1] & 0x7F
            if length > 125:
                raise FailedRequest("protocol", "a websocket frame longer than any the probe sent", self.release)
            payload = await self._reader.exactly(length)
        except FailedRequest as error:
            if error.cause not in ("truncated", "closed"):
                raise
            raise FailedRequest("closed", "the websocket ended without a close frame", self.release) from error
        opcode = self._head[0] & 0x0F
        self._head = b""
        return opcode, payload

    async def _send(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        await self._connection.send(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)
