"""A small HTTP proxy: one pool of servers, health checks, and a control socket. It runs on the balancer's host.

    proxy.py run FOLDER      serve the pool of FOLDER/pool.json
    proxy.py reload FOLDER   have the proxy read FOLDER/pool.json again, and wait until it has

FOLDER/state.json keeps which servers are out of the pool. FOLDER/control.sock takes one line of JSON and gives one.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHECK_INTERVAL_S = 0.25
TIMEOUT_S = 60.0
RELOAD_WITHIN_S = 20.0
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


class Pool:
    """The servers, and what is known of each. Every method may be called by several threads."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._turn = itertools.count()
        self.settings: dict[str, Any] = {}
        self._admin: dict[str, str] = {}
        self._checks: dict[str, str] = {}
        self._sessions: dict[str, int] = {}
        self.closed = False
        self.load()

    def load(self) -> None:
        """Reads the pool again. A server that joins others stays out until somebody admits it."""
        settings = _read(self._folder + "/pool.json") or {"servers": {}, "listen": None}
        state = _read(self._folder + "/state.json") or {}
        known = state.get("admin", {})
        with self._lock:
            usual = "maint" if set(known) & set(settings["servers"]) else "ready"
            self.settings = settings
            self._admin = {name: known.get(name, usual) for name in settings["servers"]}
            self._checks = {name: self._checks.get(name, "") for name in settings["servers"]}
            self.closed = bool(state.get("closed"))
            self._save()

    def set(self, names: list[str], admin: str) -> None:
        """Makes servers `ready`, `drain` or `maint`, from the next request on."""
        with self._lock:
            self._admin.update(dict.fromkeys(names, admin))
            self._save()

    def close(self, closed: bool) -> None:
        """Answers every request with the maintenance page, or lets the servers answer."""
        with self._lock:
            self.closed = closed
            self._save()

    @contextmanager
    def server(self) -> Iterator[dict[str, Any] | None]:
        """Yields the server of one request, which counts as in flight within the block; None if no server is up."""
        with self._lock:
            up = [name for name, admin in self._admin.items() if admin == "ready" and self._checks[name] == "L7OK"]
            name = up[next(self._turn) % len(up)] if up else ""
            self._sessions[name] = self._sessions.get(name, 0) + 1
            chosen = self.settings["servers"].get(name)
        try:
            yield chosen
        finally:
            with self._lock:
                self._sessions[name] -= 1

    def describe(self) -> dict[str, dict[str, Any]]:
        """Returns every server as deploy's agent reads it (`deployer.agent.balancer.driver.Server`)."""
        with self._lock:
            return {
                name: {
                    **server,
                    "admin": self._admin[name],
                    "status": "UP" if self._checks[name] == "L7OK" else "DOWN",
                    "check": self._checks[name],
                    "sessions": self._sessions.get(name, 0),
                }
                for name, server in self.settings["servers"].items()
            }

    def check_forever(self) -> None:
        """Sends the health check to every server, again and again."""
        while True:
            with self._lock:
                servers, health = dict(self.settings["servers"]), self.settings.get("health", {})
            for name, server in servers.items():
                self._checks[name] = _check(server, health)
            time.sleep(CHECK_INTERVAL_S)

    def _save(self) -> None:
        path = self._folder + "/state.json"
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump({"admin": self._admin, "closed": self.closed}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)


class Handler(BaseHTTPRequestHandler):
    """Passes one request on, and the whole response back."""

    protocol_version = "HTTP/1.1"
    pool: Pool

    def do_GET(self) -> None:
        """Serves a request of any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.pool.closed:
            return self._answer(503, [("Retry-After", "120")], self.pool.settings["page"].encode())
        with self.pool.server() as server:
            if server is None:
                return self._answer(503, [], b"no server is up\n")
            connection = http.client.HTTPConnection(server["address"], server["port"], timeout=TIMEOUT_S)
            try:
                headers = {name: text for name, text in self.headers.items() if name.lower() not in HOP_BY_HOP}
                connection.request(self.command, self.path, body, {**headers, "Connection": "close"})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                return self._answer(502, [], f"{error}\n".encode())
            finally:
                connection.close()
            return self._answer(response.status, response.getheaders(), content)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, text in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class Front(ThreadingHTTPServer):
    """Where users come to."""

    daemon_threads = True
    request_queue_size = 512


def _check(server: dict[str, Any], health: dict[str, Any]) -> str:
    """Returns `L7OK`, or why the server is not healthy."""
    connection = http.client.HTTPConnection(server["address"], server["port"], timeout=health["timeout"])
    try:
        connection.request("GET", health["path"], headers=health["headers"])
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"L4CON {error}"
    finally:
        connection.close()
    return "L7OK" if status in health["statuses"] else f"L7STS {status}"


def run(folder: str) -> None:
    """Serves until it is killed."""
    pool = Pool(folder)
    front: dict[str, Front] = {}

    def listen() -> None:
        place = pool.settings["listen"]
        for old in [known for known in front if known != json.dumps(place)]:
            front.pop(old).shutdown()
        if place and json.dumps(place) not in front:
            server = Front((place["address"], place["port"]), type("PoolHandler", (Handler,), {"pool": pool}))
            front[json.dumps(place)] = server
            threading.Thread(target=server.serve_forever, daemon=True).start()

    listen()
    threading.Thread(target=pool.check_forever, daemon=True).start()
    path = folder + "/control.sock"
    if os.path.exists(path):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.bind(path)
        os.chmod(path, 0o600)
        control.listen(64)
        while True:
            client, _ = control.accept()
            # One that asks nothing and goes, as deploy does to see that the proxy listens, must not end it.
            with suppress(OSError, ValueError), client, client.makefile("rwb") as stream:
                question = json.loads(stream.readline() or b"{}")
                if question.get("reload"):
                    pool.load()
                    listen()
                if "admin" in question:
                    pool.set(question["set"], question["admin"])
                if "closed" in question:
                    pool.close(question["closed"])
                stream.write(json.dumps({"servers": pool.describe()}).encode() + b"\n")


def reload(folder: str) -> None:
    """Has the proxy read its pool again; waits for one that is about to start."""
    end = time.monotonic() + RELOAD_WITHIN_S
    while True:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(folder + "/control.sock")
                client.sendall(b'{"reload": true}\n')
                if client.makefile("rb").readline():
                    return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            content: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return content


if __name__ == "__main__":
    {"run": run, "reload": reload}[sys.argv[1]](sys.argv[2])
