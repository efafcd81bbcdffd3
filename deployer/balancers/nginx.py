"""nginx, open source: a folder of our own, included by one file beside the host's configuration.

    /etc/nginx/conf.d/deploy.conf                 the one line that includes our folder
    /etc/nginx/deploy/00-deploy.conf              what all apps share; front.inc and slot.inc: their servers' settings
    /etc/nginx/deploy/50-<app>-<env>.conf         one app: its server, its pool, one listener per instance
    /etc/nginx/deploy/certificates/…              its certificate and key
    /etc/nginx/deploy/routes/<app>-<env>.json     the same as data, for `nginx_reload.py apply` and the agent; of its
                                                  servers `apply` makes upstreams with addresses for names
    /var/lib/deploy-nginx/gates/<pool>/<server>   there: that server gets no requests
    /var/lib/deploy-nginx/requests/               the requests of the last minutes, while a push asks for them

A reload of nginx closes every idle connection of a user, so servers are never drained by one. Requests go through a
listener that nginx has for each instance, on a unix socket; it looks at each request whether the gate's file is there.
So a drain is a file, which outlives reloads, restarts and the host's reboot, and only a changed pool needs a reload.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import resources as package_data
from typing import Any

from deployer import templating
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Absent, Directory, File, Listener, Package, Resource, Service
from deployer.agent.model.supervision import Argv
from deployer.balancers.base import Balancer, Front, Pool, Server
from deployer.balancers.https import CIPHERS, certificate, certificate_path, no_certificate, secure
from deployer.balancers.page import RETRY_AFTER_S, page
from deployer.balancers.values import PATH, Listen, domain, served, server, word
from deployer.errors import SettingsError

HANDLER = "nginx-apply"
FOLDER = "/etc/nginx/deploy"
INCLUDED_BY = "/etc/nginx/conf.d/deploy.conf"
GATES = "/var/lib/deploy-nginx/gates"
REQUESTS = "/var/lib/deploy-nginx/requests"
SOCKETS = "/run/deploy-nginx"
LOG = "/var/log/nginx/error.log"
TOOL = "/usr/local/lib/deploy/nginx_reload.py"
DROP_IN = "/etc/systemd/system/nginx.service.d/deploy.conf"

_LONGEST_PATH = 107
"""Bytes of a UNIX socket's path: unix(7)."""

_ANY_NAME = ('""', "~^")
"""Names of a server that take what no other server claims by name; a `default_server` would clash with the host's."""


@dataclass(frozen=True)
class Instance:
    """The slots of one instance, and the listener that passes on to the one in use."""

    socket: str
    slots: tuple[Server, ...]


class Nginx(Balancer):
    """nginx 1.18 or later: Debian's package under systemd, or a program of supervisord in a lab of processes."""

    name = "nginx"
    service = "nginx"
    serves_tls = True
    serves_files = True

    def base(self, site: Site, *, systemd: bool) -> list[Resource]:
        """Return what all apps share: the folder and what includes it, the reload tool; under systemd the package."""
        folder = _path(site, FOLDER)
        source = (
            package_data.files("deployer.agent.balancer.nginx").joinpath("reload_tool.py").read_text(encoding="utf-8")
        )
        own: list[Resource] = [
            Directory(folder),
            Directory(folder + "/routes"),
            Directory(_path(site, GATES).rpartition("/")[0]),
            Directory(_path(site, GATES)),
            Directory(_path(site, REQUESTS)),
            Directory(site.system("/usr/local/lib/deploy")),
            File(site.system(TOOL), source, mode="0755"),
            File(f"{folder}/00-deploy.conf", templating.render("nginx/base.conf.j2"), notify=(HANDLER,)),
            File(
                f"{folder}/front.inc", templating.render("nginx/front.inc.j2", log=_path(site, LOG)), notify=(HANDLER,)
            ),
            File(
                f"{folder}/slot.inc",
                templating.render("nginx/slot.inc.j2", requests=_path(site, REQUESTS)),
                notify=(HANDLER,),
            ),
            File(site.system(INCLUDED_BY), f"include {folder}/*.conf;\n", notify=(HANDLER,)),
        ]
        if not systemd:
            return own
        drop_in = templating.render("nginx/drop-in.conf.j2", folder=SOCKETS.rpartition("/")[2])
        return [
            Package("nginx"),
            *own,
            Directory(DROP_IN.rpartition("/")[0]),
            File(DROP_IN, drop_in, notify=(HANDLER,)),
            Service("nginx"),
        ]

    def resources(self, pool: Pool) -> list[Resource]:
        """Return the app's configuration, the same as data, and the folder of its gates.

        Everything in them was checked.

        Raises SettingsError for a value that nginx cannot express.
        """
        folder = _path(pool.site, FOLDER)
        instances = _instances(pool)
        listen = Listen.parse(pool.listen)
        text = templating.render(
            "nginx/pool.conf.j2",
            app=f"{pool.site.app} in {pool.site.env}",
            pool=_name(pool),
            folder=folder,
            gates=_gates(pool),
            listens=[text.removeprefix(":") for text in listen.texts],
            names=[domain(name) for name in pool.domains] or _ANY_NAME,
            instances=instances,
            front=_front(pool),
            https=pool.https and Listen.parse(pool.https.listen),
            certificate=certificate_path(pool, folder + "/certificates"),
            ciphers=CIPHERS,
            page=_page_file(pool),
            retry_after=RETRY_AFTER_S,
            websocket_ms=round((pool.websocket_timeout or 3600.0) * 1000),
            trusted=pool.trusted_proxies,
            www=served(pool),
        )
        return [
            Directory(_gates(pool)),
            *certificate(pool, folder + "/certificates", HANDLER),
            File(_page_file(pool), page(pool)),
            File(_pool_file(pool), text, notify=(HANDLER,)),
            File(_route_file(pool), _route(pool, listen, instances), notify=(HANDLER,)),
            *(Listener(instance.socket, notify=(HANDLER,)) for instance in instances),
        ]

    def absent(self, pool: Pool) -> list[Resource]:
        """Return the app's configuration, route, page and certificate.

        Its gates stay, without a use.
        """
        files = [Absent(path, notify=(HANDLER,)) for path in (_pool_file(pool), _route_file(pool), _page_file(pool))]
        return [*files, *no_certificate(pool, _path(pool.site, FOLDER) + "/certificates", HANDLER)]

    def handlers(self, site: Site, *, systemd: bool) -> dict[str, tuple[Argv, ...]]:
        """Return one command: refuse clashes, check, reload, see that new workers answer; else restore and print the
        cause."""
        tool = ("/usr/bin/env", "python3", "-IS", site.system(TOOL), "apply")
        places = ("--folder", site.system(FOLDER), "--sockets", site.system(SOCKETS))
        if systemd:
            return {HANDLER: ((*tool, *places, "--main", "/etc/nginx/modules-enabled"),)}
        control = (site.prefix + "/usr/bin/supervisorctl", "-c", site.prefix + "/etc/supervisor/supervisord.conf")
        nginx = ("nginx", "-c", site.system("/etc/nginx/nginx.conf"), "-p", site.prefix + "/")
        # argparse would take `-c` for an option of the tool, hence one word each.
        by = ("--supervisorctl", json.dumps(control if site.prefix else control[:1]))
        of = ("--nginx", json.dumps(nginx if site.prefix else nginx[:1]))
        return {HANDLER: ((*tool, *places, *by, *of),)}

    def check(self, site: Site, *, systemd: bool) -> Argv:
        """nginx's own check of all that its service loads."""
        if site.prefix:
            return ("nginx", "-t", "-q", "-c", site.system("/etc/nginx/nginx.conf"), "-p", site.prefix + "/")
        return ("nginx", "-t", "-q")

    def front(self, pool: Pool) -> Front:
        """Return a socket of the app's own: where its configuration lies is for nginx to say."""
        return Front(_front(pool))

    def driver(self, pool: Pool) -> dict[str, Any]:
        """`{"kind", "route", "gates", "requests", "health"}`: where things lie, and what to ask the pool's servers."""
        if not pool.options.get("manage", True):
            raise SettingsError(
                "balancer.manage: false does not work with nginx, which cannot take a server out without a reload",
                hint="let deploy write the pool (leave manage out), or use kind: command with commands of your own",
            )
        return {
            "kind": self.name,
            "route": _route_file(pool),
            "gates": _gates(pool),
            "requests": _path(pool.site, REQUESTS),
            "health": {**asdict(pool.health), "host": pool.health.host or next(iter(pool.domains), "localhost")},
        }


def _instances(pool: Pool) -> list[Instance]:
    slots: dict[str, list[Server]] = {}
    for slot_server in (server(pool_server) for pool_server in pool.servers):
        slots.setdefault(slot_server.instance or slot_server.name, []).append(slot_server)
    return [Instance(_socket(pool, group[0]), tuple(group)) for group in slots.values()]


def _socket(pool: Pool, first: Server) -> str:
    """Return a short name, since a socket's path has at most `_LONGEST_PATH` characters."""
    digest = hashlib.sha256(f"{pool.name}/{first.name}".encode()).hexdigest()[:10]
    return f"{_path(pool.site, SOCKETS)}/{digest}.sock"


def _front(pool: Pool) -> str:
    """Return the socket by which nginx itself asks for the app; a digest where its name would make it too long
    a path."""
    name = f"{pool.site.app}-{pool.site.env}"
    path = f"{_path(pool.site, SOCKETS)}/{name}.sock"
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"unix:{path if len(path) <= _LONGEST_PATH else path.replace(name, 'of-' + digest)}"


def _route(pool: Pool, listen: Listen, instances: list[Instance]) -> str:
    route = {
        "pool": _name(pool),
        "app": f"{pool.site.app} in {pool.site.env}",
        "listen": listen.text,
        "address": listen.address,
        "port": listen.port,
        "frontend": listen.name,
        "domains": sorted({domain(name) for name in pool.domains}),
        "gates": _gates(pool),
        "secure": secure(pool),
        "servers": {
            slot.name: {"address": slot.address.strip("[]"), "port": slot.port, "socket": instance.socket}
            for instance in instances
            for slot in instance.slots
        },
    }
    return json.dumps(route, indent=1) + "\n"


def _pool_file(pool: Pool) -> str:
    return f"{_path(pool.site, FOLDER)}/50-{pool.site.app}-{pool.site.env}.conf"


def _page_file(pool: Pool) -> str:
    return f"{_path(pool.site, FOLDER)}/maintenance-{pool.site.app}-{pool.site.env}.html"


def _route_file(pool: Pool) -> str:
    return f"{_path(pool.site, FOLDER)}/routes/{pool.site.app}-{pool.site.env}.json"


def _gates(pool: Pool) -> str:
    return f"{_path(pool.site, GATES)}/{_name(pool)}"


def _name(pool: Pool) -> str:
    return word(pool.name, "balancer.backend")


def _path(site: Site, path: str) -> str:
    full_path = site.system(path)
    if not PATH.match(full_path):
        raise SettingsError(f"{full_path!r} cannot be written into a configuration of nginx")
    return full_path
