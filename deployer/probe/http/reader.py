"""Takes lines and exact lengths from a connection; nothing that was received is ever lost, not even by a timeout."""

from __future__ import annotations

from deployer.probe.http.connection import Connection
from deployer.probe.http.failure import FailedRequest, UnansweredRequest

_LIMIT = 16 << 20


class Reader:
    """A buffer before one connection. `begin` opens a new response: an end before its first byte is `Unanswered`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._answered = False

    def begin(self) -> None:
        """A new response is awaited."""
        self._answered = bool(self._buffer)

    @property
    def empty(self) -> bool:
        """Whether everything that was received has been taken."""
        return not self._buffer

    async def line(self) -> bytes:
        """The next line without its end (CRLF or LF), at most 64 KiB."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > 65536:
                raise FailedRequest("protocol", "a line of more than 64 KiB")
            await self._more("in the middle of a line")
        return self._take(end + 1).rstrip(b"\r\n")

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes, at most 16 MiB."""
        if not 0 <= size <= _LIMIT:
            raise FailedRequest("protocol", f"a length of {size} bytes")
        while len(self._buffer) < size:
            await self._more(f"{size - len(self._buffer)} bytes short")
        return self._take(size)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while data := await self._connection.receive():
            self._buffer += data
            if len(self._buffer) > _LIMIT:
                raise FailedRequest("protocol", "a body of more than 16 MiB")
        return self._take(len(self._buffer))

    async def _more(self, missing: str) -> None:
        try:
            data = await self._connection.receive()
        except FailedRequest as error:
            if self._answered:
                raise
            raise UnansweredRequest(error.cause, error.detail) from error
        if not data and not self._answered:
            raise UnansweredRequest("closed", "the connection ended before any response byte")
        if not data:
            raise FailedRequest("truncated", f"the connection ended {missing}")
        self._answered = True
        self._buffer += data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
