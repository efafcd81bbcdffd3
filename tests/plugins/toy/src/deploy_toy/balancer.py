"""The adapter: which files a toy balancer needs on its host, and how the agent's driver finds the proxy."""

from __future__ import annotations

import json
from importlib import resources as package_data
from typing import Any

from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Absent, Directory, File, Listener, Resource, Service
from deployer.agent.model.supervision import Argv
from deployer.balancers.base import Balancer, Front, Pool
from deployer.balancers.page import page
from deployer.balancers.values import Listen, server
from deployer.errors import SettingsError

FOLDER = "/etc/toy-proxy"
PROGRAM = "/usr/local/lib/deploy/toy_proxy.py"
PYTHON = "/usr/bin/python3"
HANDLER = "toy-reload"
UNIT = """\
[Unit]
Description=the toy balancer of deploy

[Service]
ExecStart={command}
Restart=always

[Install]
WantedBy=multi-user.target
"""
SUPERVISED = """\
[program:toy-proxy]
command = {command}
autorestart = true
redirect_stderr = true
stdout_logfile = {log}
"""


class Toy(Balancer):
    """A proxy of one app, by systemd, or by supervisord in a lab of processes."""

    name = "toy"
    service = "toy-proxy"
    why_no_sockets = "the proxy reaches instances by TCP alone"
    why_no_figures = "a toy balancer keeps no log of requests"

    def base(self, site: Site, *, systemd: bool) -> list[Resource]:
        """Return the proxy, and what starts it."""
        program = (package_data.files("deploy_toy") / "proxy.py").read_text("utf-8")
        own: list[Resource] = [
            Directory(site.system("/usr/local/lib/deploy")),
            Directory(site.system(FOLDER)),
            File(site.system(PROGRAM), program, notify=(HANDLER,)),
        ]
        if systemd:
            unit = UNIT.format(command=" ".join(_program(site, "run")))
            started: list[Resource] = [
                File("/etc/systemd/system/toy-proxy.service", unit, notify=(HANDLER,)),
                Service("toy-proxy"),
            ]
        else:
            log = site.system("/var/log/toy-proxy.log")
            text = SUPERVISED.format(command=" ".join(_program(site, "run")), log=log)
            started = [File(site.system("/etc/supervisor/conf.d/toy-proxy.conf"), text, notify=(HANDLER,))]
        return [*own, *started, Listener(_socket(site), notify=(HANDLER,))]

    def resources(self, pool: Pool) -> list[Resource]:
        """Return the pool as the proxy reads it."""
        if pool.https:
            raise SettingsError("tls: a toy balancer serves plain HTTP", hint="leave tls out")
        listen = Listen.parse(pool.listen)
        checked = [server(known) for known in pool.servers]
        health = pool.health
        content = {
            "listen": {"address": listen.address, "port": listen.port},
            "servers": {known.name: {"address": known.address, "port": known.port} for known in checked},
            "health": {
                "path": health.path,
                "headers": {**({"Host": health.host} if health.host else {}), **health.named_headers},
                "statuses": [status for status in range(100, 600) if health.accepts(status)],
                "timeout": health.timeout,
            },
            "page": page(pool),
        }
        return [File(_pool_file(pool.site), json.dumps(content, indent=1) + "\n", notify=(HANDLER,))]

    def absent(self, pool: Pool) -> list[Resource]:
        """Return the pool's file gone: the proxy then serves nothing."""
        return [Absent(_pool_file(pool.site), notify=(HANDLER,))]

    def handlers(self, site: Site, *, systemd: bool) -> dict[str, tuple[Argv, ...]]:
        """Return one handler: start the proxy unless it runs, then have it read its pool."""
        if systemd:
            start: tuple[Argv, ...] = (("systemctl", "daemon-reload"), ("systemctl", "start", "toy-proxy"))
        else:
            configuration = site.system("/etc/supervisor/supervisord.conf")
            start = ((site.system("/usr/bin/supervisorctl"), "-c", configuration, "update", "toy-proxy"),)
        return {HANDLER: (*start, _program(site, "reload"))}

    def check(self, site: Site, *, systemd: bool) -> Argv:
        """Return no command: the proxy takes every pool that this adapter writes."""
        return ()

    def front(self, pool: Pool) -> Front | None:
        """Return None: the proxy has no configuration but this one."""
        return None

    def driver(self, pool: Pool) -> dict[str, Any]:
        """Return `{"kind", "socket", "pool"}` for `deploy_toy.host.driver.Toy`."""
        if not pool.options.get("manage", True):
            raise SettingsError("balancer.manage: false does not work with a toy balancer", hint="leave it out")
        return {"kind": self.name, "socket": _socket(pool.site), "pool": _pool_file(pool.site)}


def _program(site: Site, verb: str) -> Argv:
    return (site.system(PYTHON), "-IS", site.system(PROGRAM), verb, site.system(FOLDER))


def _pool_file(site: Site) -> str:
    return site.system(FOLDER) + "/pool.json"


def _socket(site: Site) -> str:
    return site.system(FOLDER) + "/control.sock"
