"""One health request, against a server that does what the scenario says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.agent.instance import health
from deployer.agent.model.supervision import Health


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
    [
        *((200, 200, True), (200, 204, False), (503, 503, True)),
        *((None, status, True) for status in (200, 204, 301, 302, 308, 401, 403, 404, 405)),
        *((None, status, False) for status in (400, 402, 410, 421, 429, 500, 502, 503)),
    ],
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

    def answer(taken: socket.socket, _: bytes) -> None:
        over.wait(10)

    with server(answer) as port:
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


RECORD = Health(
    path="/up", status=204, host="a.example.com", headers={"X-Key": "a"}, https=True, within=60.0, timeout=9.0
).record()


def test_a_release_gets_the_request_that_it_was_built_with() -> None:
    today = Health(path="/healthz", status=200, host="b.example.com", headers={"X-Key": "b"}, within=20.0)
    assert today.recorded(RECORD) == Health(
        path="/up", status=204, host="a.example.com", headers={"X-Key": "a"}, https=True, within=60.0, timeout=9.0
    )
    slower = replace(today, within=90.0, timeout=10.0)
    assert (slower.recorded(RECORD).within, slower.recorded(RECORD).timeout) == (90.0, 10.0), "the longer time counts"


def test_a_release_of_an_earlier_version_recorded_path_and_status_alone() -> None:
    today = Health(path="/healthz", status=200, host="b.example.com", headers={"X-Key": "b"}, https=True)
    older = today.recorded({"path": "/", "status": None})
    assert (older.path, older.host, older.sent_headers) == ("/", "b.example.com", {"X-Key": "b"})
    assert older.accepts(400) and not older.accepts(500), "it was proven where every status below 500 counted"
    assert not today.recorded({"path": "/up", "status": 204}).accepts(200)


@pytest.mark.parametrize("own", ["X-Forwarded-Proto", "x-forwarded-proto"])
def test_users_that_come_by_tls_are_told_of_unless_the_settings_say_otherwise(own: str) -> None:
    assert Health(https=True).sent_headers == {"X-Forwarded-Proto": "https"}
    assert Health(https=True, headers={own: "http"}).sent_headers == {own: "http"}
    assert Health().sent_headers == {}


def test_between_releases_a_balancer_accepts_what_a_running_app_may_answer() -> None:
    assert Health(status=200, lenient=True).accepts(400)
    assert not Health(status=200, lenient=True).accepts(503)


@pytest.mark.parametrize(
    ("answer", "check", "names"),
    [
        (b"301 X\r\nLocation: https://a/", Health(status=200), "health.headers: {X-Forwarded-Proto: https}"),
        (b"308 X\r\nLocation: https://a/", Health(status=200), "health.headers: {X-Forwarded-Proto: https}"),
        (b"301 X\r\nLocation: https://a/", Health(status=200, https=True), "SECURE_PROXY_SSL_HEADER"),
        (b"301 X\r\nLocation: /elsewhere", Health(status=200), "health.status"),
        (b"400 X", Health(host="lib.example.com"), "ALLOWED_HOSTS has lib.example.com"),
        (b"503 X", Health(), "health.within"),
        (b"500 X", Health(), "health.path and health.status"),
        (b"", Health(), "health.within"),
    ],
)
def test_what_it_answers_tells_what_to_change(answer: bytes, check: Health, names: str) -> None:
    def reply(taken: socket.socket, _: bytes) -> None:
        if answer:
            taken.sendall(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")

    with server(reply) as port:
        assert names in health.ask("127.0.0.1", port, check).hint


def test_a_closed_connection_and_an_answer_that_never_comes_are_told_apart() -> None:
    with server(lambda taken, _: None) as port:
        assert health.ask("127.0.0.1", port, Health()).why.endswith("the connection was closed before an answer came")
    with server(lambda taken, _: time.sleep(0.6)) as port:
        assert health.ask("127.0.0.1", port, Health(timeout=0.2)).why.endswith("no answer within 0.2 s")


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("asked", ["127.0.0.1", "::1"])
def test_loopback_is_asked_in_the_family_that_the_release_listens_in(listening: str, asked: str) -> None:
    seen: list[bytes] = []
    family = socket.AF_INET6 if ":" in listening else socket.AF_INET
    with socket.create_server((listening, 0), family=family) as server:

        def serve() -> None:
            taken, _ = server.accept()
            with taken:
                seen.append(taken.recv(65536))
                taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = int(server.getsockname()[1])
        assert health.ask(asked, port, Health(status=200)).ok
        thread.join(10)
    assert b"Host: 127.0.0.1:%d\r\n" % port in seen[0], "an app that knows its names need not know ::1"
