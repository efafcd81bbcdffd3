"""What stands behind a balancer in its tests: web servers in this process and in their own, and users."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployer.agent.balancer import operations as balancer
from deployer.balancers import server_name
from support.loopback import free_port

TRAFFIC = """
import http.client, select, sys
failed = done = 0
print("go", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    try:
        for method in ("GET", "POST", "POST"):
            connection.request(method, "/", body="x=1" if method == "POST" else None, headers={"Host": sys.argv[2]})
            answer = connection.getresponse()
            answer.read()
            failed += answer.status != 200
            done += 1
    except (OSError, http.client.HTTPException) as error:
        failed += 1
        print(repr(error), file=sys.stderr)
    connection.close()
print(done, failed)
"""

SERVE = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    do_POST = do_GET
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@contextmanager
def traffic(port: int, host: str = "shop.example.com") -> Iterator[Callable[[], tuple[int, int]]]:
    """Requests over new and kept connections from a process of its own; what is yielded ends it: (done, failed)."""
    client = subprocess.Popen(
        [sys.executable, "-c", TRAFFIC, str(port), host], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def count() -> tuple[int, int]:
        done, failed = map(int, client.communicate("stop\n", timeout=30)[0].split())
        return done, failed

    with client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "go\n"
            yield count
        finally:
            client.kill()


class Program:
    """An instance as a process, that can be killed with all its connections."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", SERVE, str(self.port)])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)


def until(what: str, holds: Callable[[], bool], limit: float = 20.0) -> None:
    """Waits for a condition; fails with its name."""
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.02)


class Web:
    """One instance: answers with its name. `asked` are the paths that came, with any method.

    `/slow` waits until `release` is set, `/tunnel` holds a connection open, `/stream` sends half of its answer before
    it waits, `/drop` ends the connection without an answer, `/says/503` answers just that.
    While `mute` is set, it answers nothing.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.healthy = True
        self.release = threading.Event()
        self.mute = threading.Event()
        self.busy = 0
        self.asked: list[str] = []
        self.port = free_port()
        self._server: http.server.ThreadingHTTPServer | None = None
        self.start()

    @property
    def server(self) -> str:
        return server_name(self.name, self.port)

    def start(self) -> None:
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: no waiting for a delayed ACK

            def do_GET(self) -> None:
                while web.mute.is_set():
                    web.release.wait(0.1)
                if self.path.startswith("/healthz"):
                    return self.answer(200 if web.healthy else 503)
                web.asked.append(self.path)
                if self.path == "/drop":
                    self.close_connection = True
                    return None
                if self.path.startswith("/says/"):
                    return self.answer(int(self.path[6:]))
                if self.path == "/stream":
                    return self.stream()
                if self.path == "/slow":
                    web.busy += 1
                    web.release.wait(30)
                    web.busy -= 1
                if self.path == "/tunnel":
                    self.send_response(101)
                    self.send_header("Connection", "Upgrade")
                    self.send_header("Upgrade", "websocket")
                    self.send_header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                    self.end_headers()
                    self.wfile.flush()
                    web.busy += 1
                    with contextlib.suppress(ConnectionError):
                        self.connection.recv(1)
                    web.busy -= 1
                    self.close_connection = True
                    return None
                return self.answer(200)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            do_PUT = do_POST

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "8")
                self.end_headers()
                self.wfile.write(b"half")
                self.wfile.flush()
                web.release.wait(30)
                self.wfile.write(b"half")

            def answer(self, status: int) -> None:
                told = (self.headers.get(name) for name in ("X-Forwarded-For", "Host", "X-Forwarded-Proto"))
                said = " ".join([web.name, *map(str, told)]).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                """A client that left is no news."""

        self._server = Quiet(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self.release.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def environment() -> dict[str, str]:
    """For a process that imports the agent."""
    return {**os.environ, "PYTHONPATH": str(Path(balancer.__file__).parents[2])}
