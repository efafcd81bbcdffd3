"""One client connection on a bare socket.

asyncio's streams throw away what was received when a reset follows it, and a cancelled read may lose bytes. Here bytes
are read only once the socket is readable, so data, end and reset arrive in the order in which the kernel saw them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl

from deployer.probe.http.failure import FailedRequest
from deployer.probe.http.target import Target

_CHUNK = 65536


class Connection:
    """A connected TCP socket. Every trouble is a `FailedRequest`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send(self, data: bytes) -> None:
        """Sends all of `data`."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, data)
        except OSError as error:
            raise _failed(error) from error

    async def receive(self) -> bytes:
        """The next bytes, at most 64 KiB; empty at the end."""
        while True:
            try:
                return self._sock.recv(_CHUNK)
            except BlockingIOError:
                await self._readable()
            except OSError as error:
                raise _failed(error) from error

    def ended(self) -> bool:
        """Whether the other side has ended (or said anything on) a connection that should be idle."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Closes the socket; may be called twice."""
        self._sock.close()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(self._sock, wake)
        try:
            await ready
        finally:
            loop.remove_reader(self._sock)


class TlsConnection(Connection):
    """TLS over a bare socket, so that the order of data and end stays exact."""

    def __init__(self, sock: socket.socket, server_name: str) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    async def handshake(self) -> None:
        """Agrees on keys and checks the certificate against the system's authorities."""
        try:
            while True:
                try:
                    self._tls.do_handshake()
                    return await self._flush()
                except ssl.SSLWantReadError:
                    await self._flush()
                    if not await self._feed():
                        raise FailedRequest("tls", "the connection ended during the handshake") from None
        except ssl.SSLError as error:
            raise FailedRequest("tls", str(error)) from error

    async def send(self, data: bytes) -> None:
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise FailedRequest("tls", str(error)) from error
        await self._flush()

    async def receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._feed():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise FailedRequest("tls", str(error)) from error

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await super().send(data)

    async def _feed(self) -> bool:
        data = await super().receive()
        self._incoming.write(data)
        return bool(data)


async def connect(target: Target) -> Connection:
    """A new connection to `target`: its addresses are tried in order, as clients do."""
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FailedRequest("unreachable", f"{target.host}: {error}") from error
    failed = FailedRequest("unreachable", f"{target.host} has no address")
    for family, _, _, _, address in addresses:
        try:
            return await _open(family, address, target)
        except FailedRequest as error:
            failed = error
    raise failed


async def _open(family: int, address: tuple[object, ...], target: Target) -> Connection:
    sock = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as error:
            raise _failed(error) from error
        connection: Connection = Connection(sock)
        if target.tls:
            connection = tls = TlsConnection(sock, target.name)
            await tls.handshake()
        undo.pop_all()
    return connection


@functools.cache
def _context() -> ssl.SSLContext:
    """Loading the system's authorities takes tens of milliseconds: once is enough."""
    return ssl.create_default_context()


def _failed(error: OSError) -> FailedRequest:
    if isinstance(error, ConnectionRefusedError):
        return FailedRequest("refused", "nothing listens")
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return FailedRequest("reset", error.strerror or "the connection was reset")
    return FailedRequest("unreachable", error.strerror or str(error))
