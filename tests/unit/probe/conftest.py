"""A hand-made server with the endpoints that the probe asks for, which misbehaves exactly as a test tells it to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Fault = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request, and the ways to answer it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str, body: bytes) -> None:
        self.reader, self.writer, self.head, self.body = reader, writer, head, body
        self.path = head.split(" ")[1].partition("?")[0]
        self.keep = "connection: keep-alive" in head.lower()

    def say(self, status: str, body: bytes, release: str = "r1", extra: str = "", length: int | None = None) -> None:
        size = len(body) if length is None else length
        named = f"X-Release: {release}\r\n" if release else ""
        self.writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{named}{extra}\r\n".encode() + body)

    def say_json(self, release: str = "r1", **data: object) -> None:
        self.say("200 OK", json.dumps({"release": release} | data).encode(), release)

    def reset(self) -> None:
        """Ends the connection with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def shake_hands(self, release: str = "r1") -> None:
        key = next(line for line in self.head.splitlines() if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key.partition(": ")[2].encode() + GUID).digest()).decode()
        self.writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nX-Release: {release}\r\n\r\n".encode()
        )

    async def frame(self) -> tuple[int, bytes]:
        head = await self.reader.readexactly(2)
        mask = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(head[1] & 0x7F)
        return head[0] & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))

    def say_frame(self, opcode: int, payload: bytes) -> None:
        self.writer.write(bytes([0x80 | opcode, len(payload)]) + payload)

    async def echo_messages(self, count: int | None = None) -> None:
        """Echoes `count` messages, pinging between them; without a count until the client closes."""
        while count is None or count > 0:
            opcode, payload = await self.frame()
            if opcode == 0x8:
                self.say_frame(0x8, payload)
                return
            if opcode == 0x1:
                self.say_frame(0x9, b"still there?")
                self.say_frame(0x1, payload)
                count = count and count - 1


async def well_behaved(exchange: Exchange) -> None:
    """What a good app answers."""
    match exchange.path:
        case "/version":
            exchange.say_json()
        case "/slow":
            await asyncio.sleep(2)
            exchange.say_json()
        case "/late":
            exchange.say_json(late_release="r1")
        case "/echo":
            exchange.say("200 OK", exchange.body)
        case "/":
            exchange.say("200 OK", b"<html></html>\n")
        case "/stream":
            exchange.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Release: r1\r\n\r\n")
            for line in (b"r1 0\n", b"r1 1\n", b"END\n"):
                exchange.writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                await asyncio.sleep(0.1)
            exchange.writer.write(b"0\r\n\r\n")
        case "/ws":
            await exchange.shake_hands()
            await exchange.echo_messages()
            exchange.keep = False


class Server:
    """Listens on loopback while entered. `faults` maps a path to what happens there instead of the right answer."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, **faults: Fault) -> None:
        self.tls = tls
        self.faults = {"/" + path: fault for path, fault in faults.items()}
        self.connections = 0

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer_one(reader, writer):
                pass
        writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [line for line in head.splitlines() if line.lower().startswith("content-length")]
        body = await reader.readexactly(int(length[0].partition(":")[2])) if length else b""
        exchange = Exchange(reader, writer, head, body)
        await self.faults.get(exchange.path, well_behaved)(exchange)
        await writer.drain()
        return exchange.keep


@pytest.fixture
def server_with() -> type[Server]:
    """`server_with(version=fault)`: a server that is good but for one path."""
    return Server


@contextmanager
def in_a_thread(server: Server) -> Iterator[Server]:
    """Serves in a thread of its own, so that the test itself may block."""
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@pytest.fixture
def good_server() -> Iterator[Server]:
    """A good server in a thread of its own."""
    with in_a_thread(Server()) as server:
        yield server


@pytest.fixture
def tls_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A good server on https://localhost, whose authority the probe trusts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out"]
    subprocess.run([*new, str(certificate), *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with in_a_thread(Server(tls=context)) as server:
        yield server
