"""A balancer host in a folder: real HAProxy under a real supervisord, and web servers behind it, all on loopback."""

from __future__ import annotations

import http.client
import http.server
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from deployer.agent.balancer import operations as balancer
from deployer.agent.balancer.haproxy.driver import HAProxy as Driver
from deployer.agent.balancer.haproxy.reload_tool import ask
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File
from deployer.agent.model.supervision import Health
from deployer.agent.operation import Context
from deployer.balancers import Pool, Server
from deployer.balancers.haproxy import HAProxy
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

    def checked(self, pool: Pool) -> bool:
        """Whether HAProxy has checked every server of the pool."""
        return all(server["check"] for server in self.state(pool).values())

    def apply(self, *pools: Pool) -> None:
        """Installs the pools, makes them live and waits until every server was checked."""
        for pool in pools:
            self.install(self.adapter.resources(pool))
        done = self.notify()
        assert done.returncode == 0, done.stderr
        for pool in pools:
            until("the servers are checked", partial(self.checked, pool))

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
        given = {"site": pool.site.to_wire(), "run": "run-1", "driver": self.adapter.driver(pool), **args}
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
