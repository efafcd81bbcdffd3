"""A balancer host in a folder: real nginx under a real supervisord, and web servers behind it, all on loopback."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployer.agent.balancer import operations as balancer
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File
from deployer.agent.model.supervision import Health
from deployer.agent.operation import Context
from deployer.agent.system import tcp_connections
from deployer.balancers import Pool, Server
from deployer.balancers.nginx import HANDLER, Nginx
from deployer.lab.processes import nginx as plain
from support.balanced import Web, until
from support.loopback import free_port

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
"""


class House:
    """One balancer host below `prefix`, with any number of apps."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = str(prefix)
        self.adapter = Nginx()
        self.port = free_port()
        self.webs: list[Web] = []
        for name in ("usr/bin", "etc/supervisor", "etc/nginx/conf.d", "run", "var/log/nginx", "var/lib/nginx"):
            (prefix / name).mkdir(parents=True)
        program = plain.program(prefix, shutil.which("nginx") or "/usr/sbin/nginx")
        (prefix / "etc/supervisor/supervisord.conf").write_text(SUPERVISORD.format(prefix=prefix) + program)
        self.main = prefix / "etc/nginx/nginx.conf"
        self.main.write_text(plain.configuration(prefix))
        control = prefix / "usr/bin/supervisorctl"
        control.write_text(f'#!/bin/sh\nexec {sys.executable} -m supervisor.supervisorctl "$@"\n')
        control.chmod(0o755)
        self.supervisord = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", f"{prefix}/etc/supervisor/supervisord.conf"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until("supervisord answers", (prefix / "run/supervisor.sock").exists)
        until("nginx runs", lambda: (prefix / "run/nginx.pid").exists() and self.master != 0)
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
            "health": Health(path="/healthz", status=200, host="shop.example.com", timeout=2.0),
            "listen": f"127.0.0.1:{self.port}",
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
        (command,) = self.adapter.handlers(self.site("any"), systemd=False)[HANDLER]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def apply(self, *pools: Pool) -> None:
        """Installs the pools and makes them live."""
        for pool in pools:
            self.install(self.adapter.resources(pool))
        done = self.notify()
        assert done.returncode == 0, done.stderr

    def ask(
        self, method: str = "GET", path: str = "/", host: str = "shop.example.com", **headers: str
    ) -> tuple[int, str, http.client.HTTPMessage]:
        """One request on a connection of its own: status, body, headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        try:
            body = "x=1" if method in ("POST", "PUT") else None
            connection.request(method, path, body=body, headers={"Host": host, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            connection.close()

    def get(self, path: str = "/", host: str = "shop.example.com") -> tuple[int, str]:
        return self.ask("GET", path, host)[:2]

    def call(self, verb: str, pool: Pool, ctx: Context | None = None, **args: Any) -> dict[str, Any]:
        """One operation of the agent, with what the controller would send."""
        operation: Any = getattr(balancer, verb)
        given = {"site": pool.site.to_wire(), "run": "run-1", "driver": self.adapter.driver(pool), **args}
        answer: dict[str, Any] = operation(ctx or Context(identity="somebody@laptop"), given)
        return answer

    def state(self, pool: Pool) -> dict[str, Any]:
        servers: dict[str, Any] = self.call("state", pool)["servers"]
        return servers

    def control(self, *words: str) -> str:
        """`supervisorctl WORDS nginx`."""
        control = f"{self.prefix}/usr/bin/supervisorctl"
        configuration = f"{self.prefix}/etc/supervisor/supervisord.conf"
        command = [control, "-c", configuration, *words, "nginx"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @property
    def master(self) -> int:
        """The process id of nginx's master, as it wrote it."""
        return int(Path(self.prefix, "run/nginx.pid").read_text().strip() or 0)

    def crash(self) -> None:
        """Kills nginx, all of it, and waits until supervisord has started another."""
        before = self.master
        for pid in (before, *tcp_connections.children(before)):
            os.kill(pid, signal.SIGKILL)
        until("another nginx runs", lambda: self.master not in (0, before))

    def clear(self) -> None:
        """As setup left it: no apps, no gates, no records, another port."""
        for web in self.webs:
            web.stop()
        self.webs.clear()
        root = Path(self.prefix)
        for path in (*root.glob("etc/nginx/deploy/[1-9]*"), *root.glob("etc/nginx/conf.d/own*")):
            path.unlink()
        for folder in ("etc/nginx/deploy/routes", "var/lib/deploy-nginx/gates", "srv"):
            shutil.rmtree(root / folder, ignore_errors=True)
        (root / "var/lib/deploy-nginx/gates").mkdir()
        self.main.write_text(plain.configuration(root))
        self.port = free_port()

    def close(self) -> None:
        self.clear()
        self.supervisord.terminate()
        self.supervisord.wait(20)


@contextmanager
def house() -> Iterator[House]:
    """A balancer host; its folder has a short path, since that of a socket is limited."""
    prefix = Path(tempfile.mkdtemp(prefix="ng", dir="/tmp"))
    made = House(prefix)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(prefix, ignore_errors=True)
