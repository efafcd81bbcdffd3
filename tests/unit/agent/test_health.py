"""One health request, against a server that does what the scenario says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployer.agent import health
from deployer.agent.supervision import Health


@contextmanager
def server(answer: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            taken, _ = listening.accept()
            with taken:
                answer(taken, taken.recv(65536))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(10)


@pytest.mark.parametrize(
    ("wanted", "status", "ok"),
    [(200, 200, True), (200, 204, False), (None, 404, True), (None, 302, True), (None, 500, False), (503, 503, True)],
)
def test_the_status_decides(wanted: int | None, status: int, ok: bool) -> None:
    with server(lambda taken, _: taken.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as port:
        answer = health.ask("127.0.0.1", port, Health(status=wanted))
    assert (answer.ok, answer.status) == (ok, status)
    assert bool(answer.why) is not ok


def test_it_asks_for_the_path_with_the_host_and_headers_it_was_given() -> None:
    seen: list[bytes] = []

    def answer(taken: socket.socket, request: bytes) -> None:
        seen.append(request)
        taken.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    wanted = Health(path="/healthz?full=1", host="shop.example.com", headers={"X-Probe": "1"})
    with server(answer) as port:
        assert health.ask("0.0.0.0", port, wanted).ok
    head = seen[0].decode().split("\r\n")
    assert head[0] == "GET /healthz?full=1 HTTP/1.1"
    assert [line for line in head if line.startswith("Host:")] == ["Host: shop.example.com"]
    assert "X-Probe: 1" in head


def test_a_folder_is_asked_at_the_socket_of_the_slot(tmp_path: Path) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "8000.sock"))
        listening.listen()

        def serve() -> None:
            taken, _ = listening.accept()
            with taken:
                heard.append(taken.recv(65536))
                taken.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert health.ask(str(tmp_path), 8000, Health(path="/healthz", status=200)).ok
        thread.join(10)
    assert heard[0].startswith(b"GET /healthz HTTP/1.1\r\n") and b"\r\nHost: localhost:8000\r\n" in heard[0]
    assert health.ask(str(tmp_path), 8001, Health()).status is None


def test_a_header_of_the_users_own_replaces_ours() -> None:
    seen: list[bytes] = []

    def answer(taken: socket.socket, request: bytes) -> None:
        seen.append(request)
        taken.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with server(answer) as port:
        health.ask("127.0.0.1", port, Health(headers={"host": "inner"}))
    assert seen[0].lower().count(b"host:") == 1
    assert b"Host: inner" in seen[0]


def test_a_server_that_trickles_is_given_up_in_time() -> None:
    over = threading.Event()

    def answer(taken: socket.socket, _: bytes) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
            if over.wait(0.1):
                return
            try:
                taken.sendall(bytes([letter]))
            except OSError:
                return

    with server(answer) as port:
        began = time.monotonic()
        result = health.ask("127.0.0.1", port, Health(timeout=0.6))
        over.set()
    assert not result.ok
    assert time.monotonic() - began < 3


def test_silence_refusal_and_nonsense_are_told_apart() -> None:
    over = threading.Event()
    with server(lambda taken, _: over.wait(10) and None) as port:
        silent = health.ask("127.0.0.1", port, Health(timeout=0.3))
        over.set()
    with server(lambda taken, _: taken.sendall(b"SSH-2.0-OpenSSH\r\n")) as port:
        nonsense = health.ask("127.0.0.1", port, Health())
    refused = health.ask("127.0.0.1", port, Health())
    bad = health.ask("127.0.0.1", port, Health(path="/a b\r\nX: 1"))
    assert "0.3 s" in silent.why
    assert "BadStatusLine" in nonsense.why
    assert refused.why == "GET /: connection refused"
    assert not bad.ok
