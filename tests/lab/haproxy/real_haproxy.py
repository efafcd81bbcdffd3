"""A balancer host in a folder: real HAProxy under a real supervisord, and web servers behind it, all on loopback."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deployer.agent import balancer
from deployer.agent.haproxy import HAProxy as Driver
from deployer.agent.haproxy_reload import ask
from deployer.agent.layout import Site
from deployer.agent.operation import Context
from deployer.agent.resources import Directory, File
from deployer.agent.supervision import Health
from deployer.balancers import HAProxy, Pool, Server, server_name

SUPERVISORD = """
[unix_http_server]
file={prefix}/run/supervisor.sock
[supervisord]
logfile={prefix}/supervisord.log
pidfile={prefix}/supervisord.pid
childlogdir={prefix}
nodaemon=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{prefix}/run/supervisor.sock
[program:haproxy]
command={haproxy} -W -f {prefix}/etc/haproxy/haproxy.cfg -f {prefix}/etc/haproxy/deploy
autostart=false
"""

OWN = """
global
    stats socket {prefix}/run/haproxy/admin.sock mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""

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


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, holds: Callable[[], bool], limit: float = 20.0) -> None:
    """Waits for a condition; fails with its name."""
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.02)


class Web:
    """One instance: answers with its name, slowly on `/slow`, holds a connection open on `/tunnel`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.healthy = True
        self.release = threading.Event()
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
                if self.path.startswith("/healthz"):
                    return self.answer(200 if web.healthy else 503)
                web.asked.append(self.path)
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
                self.answer(200)

            def answer(self, status: int) -> None:
                said = f"{web.name} {self.headers.get('X-Forwarded-For')} {self.headers.get('Host')}".encode()
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


class House:
    """One balancer host below `prefix`, with any number of apps."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = str(prefix)
        self.adapter = HAProxy()
        self.port = free_port()
        self.webs: list[Web] = []
        (prefix / "usr/bin").mkdir(parents=True)
        (prefix / "etc/supervisor").mkdir(parents=True)
        (prefix / "run").mkdir()
        haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
        (prefix / "etc/supervisor/supervisord.conf").write_text(SUPERVISORD.format(prefix=self.prefix, haproxy=haproxy))
        (prefix / "etc/haproxy").mkdir()
        (prefix / "etc/haproxy/haproxy.cfg").write_text(OWN.format(prefix=self.prefix))
        control = prefix / "usr/bin/supervisorctl"
        control.write_text(f'#!/bin/sh\nexec {sys.executable} -m supervisor.supervisorctl "$@"\n')
        control.chmod(0o755)
        self.supervisord = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", f"{prefix}/etc/supervisor/supervisord.conf"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until("supervisord answers", (prefix / "run/supervisor.sock").exists)
        self.install(self.adapter.base(self.site("any"), systemd=False))

    def site(self, app: str) -> Site:
        return Site(app=app, env="prod", root=f"{self.prefix}/srv/{app}", prefix=self.prefix)

    def web(self, name: str) -> Web:
        self.webs.append(Web(name))
        return self.webs[-1]

    def pool(self, app: str, *webs: Web, **changes: Any) -> Pool:
        servers = tuple(Server(web.server, "127.0.0.1", web.port) for web in webs)
        given: dict[str, Any] = {
            "site": self.site(app),
            "name": f"{app}-prod",
            "servers": servers,
            "health": Health(path="/healthz", status=200, host="shop.example.com"),
            "listen": f"127.0.0.1:{self.port}",
            "socket": f"{self.prefix}/run/haproxy/admin.sock",
        }
        return Pool(**{**given, **changes})

    def install(self, resources: list[Any]) -> None:
        for resource in resources:
            if isinstance(resource, Directory):
                Path(resource.path).mkdir(parents=True, exist_ok=True)
            elif isinstance(resource, File):
                Path(resource.path).parent.mkdir(parents=True, exist_ok=True)
                Path(resource.path).write_text(resource.content)

    def notify(self) -> subprocess.CompletedProcess[str]:
        """What a changed file sets off."""
        (command,) = self.adapter.handlers(self.site("any"), systemd=False)["haproxy-apply"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def apply(self, *pools: Pool) -> None:
        """Installs the pools, makes them live and waits until every server was checked."""
        for pool in pools:
            self.install(self.adapter.resources(pool))
        done = self.notify()
        assert done.returncode == 0, done.stderr
        for pool in pools:
            until("the servers are checked", lambda pool=pool: all(s["check"] for s in self.state(pool).values()))

    def get(self, path: str = "/", host: str = "shop.example.com") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def call(self, verb: str, pool: Pool, ctx: Context | None = None, **args: Any) -> dict[str, Any]:
        """One operation of the agent, with what the controller would send."""
        operation: Any = getattr(balancer, verb)
        given = {"site": asdict(pool.site), "run": "run-1", "driver": self.adapter.driver(pool), **args}
        answer: dict[str, Any] = operation(ctx or Context(identity="somebody@laptop"), given)
        return answer

    def state(self, pool: Pool) -> dict[str, Any]:
        servers: dict[str, Any] = self.call("state", pool)["servers"]
        return servers

    def raw(self, command: str) -> str:
        return ask(f"{self.prefix}/run/haproxy/deploy.sock", command)

    def control(self, *words: str) -> None:
        """`supervisorctl WORDS haproxy`."""
        control = f"{self.prefix}/usr/bin/supervisorctl"
        configuration = f"{self.prefix}/etc/supervisor/supervisord.conf"
        subprocess.run([control, "-c", configuration, *words, "haproxy"], check=True, capture_output=True)

    def driver(self, pool: Pool) -> Driver:
        """The agent's driver for a pool."""
        return Driver(self.adapter.driver(pool))

    def clear(self) -> None:
        """As setup left it: no apps, no records, another port."""
        for web in self.webs:
            web.stop()
        self.webs.clear()
        root = Path(self.prefix)
        for path in (*root.glob("etc/haproxy/deploy/[45h]*"), *root.glob("run/haproxy/deploy-*.state")):
            path.unlink()
        for folder in (root / "etc/haproxy/deploy/routes", root / "srv"):
            shutil.rmtree(folder, ignore_errors=True)
        self.port = free_port()

    def close(self) -> None:
        self.clear()
        self.supervisord.terminate()
        self.supervisord.wait(20)


@contextmanager
def house() -> Iterator[House]:
    """A balancer host; its folder has a short path, since that of a socket is limited."""
    prefix = Path(tempfile.mkdtemp(prefix="hp", dir="/tmp"))
    made = House(prefix)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(prefix, ignore_errors=True)


def environment() -> dict[str, str]:
    """For a process that imports the agent."""
    return {**os.environ, "PYTHONPATH": str(Path(balancer.__file__).parents[2])}
