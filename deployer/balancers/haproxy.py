"""HAProxy: a folder of our own beside the host's configuration, which is never touched.

    /etc/haproxy/deploy/00-deploy.cfg            our stats socket, and the `defaults` of all that is ours
    /etc/haproxy/deploy/40-deploy-<listen>.cfg   one frontend a listen address: the same text whichever app writes it
    /etc/haproxy/deploy/50-<app>-<env>.cfg       one backend per app and environment
    /etc/haproxy/deploy/routes/<app>-<env>.json  which names go to it; `haproxy_reload.py apply` joins them into maps
    /etc/haproxy/deploy/certificates/…           an app's certificate and key, which TLS names alone can choose

So adding or removing one app touches no line of another, and every app's servers keep their state through it.
"""

from __future__ import annotations

import json
import re
from importlib import resources as package_data
from typing import Any

from deployer import templating
from deployer.agent.balancer.haproxy.reload_tool import CLOSED
from deployer.agent.model.endpoints import place
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Absent, Directory, File, Listener, Package, Resource, Service
from deployer.agent.model.supervision import USUAL_REFUSALS, Argv, Health
from deployer.balancers.base import Balancer, Front, Pool
from deployer.balancers.https import CIPHERS, certificate, certificate_path, no_certificate, secure
from deployer.balancers.page import RETRY_AFTER_S, page
from deployer.balancers.values import PATH, Listen, domain, server, word
from deployer.errors import SettingsError

HANDLER = "haproxy-apply"
FOLDER = "/etc/haproxy/deploy"
CERTIFICATES = "certificates"
SOCKET = "/run/haproxy/deploy.sock"
MAIN = "/etc/haproxy/haproxy.cfg"
USUAL_SOCKET = "/run/haproxy/admin.sock"
TOOL = "/usr/local/lib/deploy/haproxy_reload.py"
OLDEST = "2.4"
"""The first with named `defaults` and `idle-close-on-response`, without which a reload loses requests."""
DROP_IN = "/etc/systemd/system/haproxy.service.d/deploy.conf"

_HEADER = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
_URI = re.compile(r"^/[!-~]*$")


class HAProxy(Balancer):
    """HAProxy 2.4 or later: Debian's package under systemd, or a program of supervisord in a lab of processes."""

    name = "haproxy"
    service = "haproxy"
    serves_tls = True
    why_no_sockets = "HAProxy runs in a chroot, which does not contain the host's sockets"

    def base(self, site: Site, *, systemd: bool) -> list[Resource]:
        """Return what all apps share: the folder, the base file, the reload tool; under systemd the package and a
        drop-in."""
        folder = _folder(site)
        base = templating.render("haproxy/base.cfg.j2", socket=site.system(SOCKET))
        source = (
            package_data.files("deployer.agent.balancer.haproxy").joinpath("reload_tool.py").read_text(encoding="utf-8")
        )
        own: list[Resource] = [
            Directory(folder),
            Directory(folder + "/routes"),
            Directory(site.system("/usr/local/lib/deploy")),
            File(site.system(TOOL), source, mode="0755"),
            File(folder + "/00-deploy.cfg", base, notify=(HANDLER,)),
            Listener(site.system(SOCKET), notify=(HANDLER,)),
        ]
        if not systemd:
            return [*own, Directory(site.system("/run/haproxy"), mode="0750")]
        drop_in = templating.render(
            "haproxy/drop-in.conf.j2",
            folder=folder,
            before=_tool(site, "join"),
            after=_tool(site, "hold"),
            dump=_tool(site, "dump"),
        )
        return [
            Package("haproxy", at_least=OLDEST),
            *own,
            Directory(DROP_IN.rpartition("/")[0]),
            File(DROP_IN, drop_in, notify=(HANDLER,)),
            Service("haproxy"),
        ]

    def resources(self, pool: Pool) -> list[Resource]:
        """Return the app's backend and route, and the frontend of its listen address. Everything in them was checked.

        Raises SettingsError for a value that HAProxy cannot express.
        """
        listen = Listen.parse(pool.listen)
        folder = _folder(pool.site)
        backend, route = _own_files(pool.site)
        own: list[Resource] = [
            *certificate(pool, f"{folder}/{CERTIFICATES}", HANDLER),
            File(_page_file(pool.site), page(pool), notify=(HANDLER,)),
            # Who is closed now is written by whoever closes an app.
            File(f"{folder}/{CLOSED}", "", initial=True),
            File(backend, _backend(pool), notify=(HANDLER,)),
            File(route, _route(pool, listen), notify=(HANDLER,)),
            _frontend(folder, listen),
        ]
        return own if pool.https is None else [*own, _frontend(folder, Listen.parse(pool.https.listen), secure=True)]

    def absent(self, pool: Pool) -> list[Resource]:
        """Return all that is the app's own. An unused frontend goes when the routes are joined."""
        mine = (*_own_files(pool.site), _page_file(pool.site))
        files = [Absent(path, notify=(HANDLER,)) for path in mine]
        return [*files, *no_certificate(pool, f"{_folder(pool.site)}/{CERTIFICATES}", HANDLER)]

    def handlers(self, site: Site, *, systemd: bool) -> dict[str, tuple[Argv, ...]]:
        """Return one command: join the routes, check, reload, see that the new worker answers; else put back and say
        why."""
        return {HANDLER: ((*_tool(site, "apply"), *_service(site, systemd)),)}

    def check(self, site: Site, *, systemd: bool) -> Argv:
        """HAProxy's own check of all that its service loads, the host's part and ours."""
        return (*_tool(site, "check"), *_service(site, systemd))

    def front(self, pool: Pool) -> Front | None:
        """Return the pool's own backend, beside those of the main configuration."""
        return Front(pool.name, pool.site.system(MAIN))

    def driver(self, pool: Pool) -> dict[str, Any]:
        """`{"kind", "socket", "backend", "state_file"}`; for a pool that somebody else configures, `addresses` too.

        `pool.options["manage"]` false says that somebody else does. Ours has a stats socket of its own, unless the
        settings name another than HAProxy's usual one.
        """
        driver = {"kind": self.name, "socket": pool.socket, "backend": word(pool.name, "balancer.backend")}
        if not pool.options.get("manage", True):
            places = {
                pool_server.name: place(pool_server.address.strip("[]"), pool_server.port)
                for pool_server in pool.servers
            }
            return {**driver, "state_file": "", "addresses": places}
        if pool.socket in (USUAL_SOCKET, pool.site.system(USUAL_SOCKET)):
            driver["socket"] = pool.site.system(SOCKET)
        return {**driver, "state_file": _state_file(pool), "folder": _folder(pool.site)}


def _frontend(folder: str, listen: Listen, *, secure: bool = False) -> File:
    """Return the frontend of an address: the same text whichever app writes it."""
    text = templating.render(
        "haproxy/frontend.cfg.j2",
        listen=listen.text,
        frontend=listen.name,
        map=f"{folder}/hosts-{listen.name}.map",
        certificates=f"{folder}/certificates-{listen.name}.list" if secure else "",
        ciphers=CIPHERS,
    )
    return File(f"{folder}/40-{listen.name}.cfg", text, notify=(HANDLER,))


def _backend(pool: Pool) -> str:
    health = pool.health
    if not _URI.match(health.path):
        raise SettingsError(
            f"health.path: {health.path!r} is not a valid path", hint="write it as in a URL, from the slash on"
        )
    for header in health.headers:
        if not _HEADER.match(header):
            raise SettingsError(f"health.headers: {header!r} is not a valid header name")
    return templating.render(
        "haproxy/backend.cfg.j2",
        app=f"{pool.site.app} in {pool.site.env}",
        backend=word(pool.name, "balancer.backend"),
        state_file=_state_file(pool),
        health=health,
        host=health.host or next(iter(pool.domains), "localhost"),
        headers=sorted((name, value) for name, value in health.named_headers.items() if name.lower() != "host"),
        expect=_expect(health),
        trusted=pool.trusted_proxies,
        tunnel=round((pool.websocket_timeout or 0) * 1000),
        closed=f"{_folder(pool.site)}/{CLOSED}",
        page=_page_file(pool.site),
        retry_after=RETRY_AFTER_S,
        https=pool.https and Listen.parse(pool.https.listen),
        check_timeout=max(100, round(health.timeout * 1000)),
        # Each round closes half of the idle connections: they are gone well before the app closes them itself.
        purge=max(100, round(pool.keepalive * 1000 / 4)),
        servers=[server(pool_server) for pool_server in pool.servers],
    )


def _route(pool: Pool, listen: Listen) -> str:
    route = {
        "app": f"{pool.site.app} in {pool.site.env}",
        "listen": listen.text,
        "address": listen.address,
        "port": listen.port,
        "frontend": listen.name,
        "backend": pool.name,
        "domains": sorted({domain(name) for name in pool.domains}),
        "state_file": _state_file(pool),
        "drained": pool.site.drained,
        "maintenance": pool.site.maintenance,
        "secure": secure(pool),
        "certificate": certificate_path(pool, f"{_folder(pool.site)}/{CERTIFICATES}"),
    }
    return json.dumps(route, indent=1) + "\n"


def _expect(health: Health) -> str:
    if health.lenient:
        return "100-499"
    return f"100-399,{','.join(map(str, USUAL_REFUSALS))}" if health.status is None else str(health.status)


def _own_files(site: Site) -> tuple[str, str]:
    """Return the app's backend and its route."""
    folder, key = _folder(site), f"{site.app}-{site.env}"
    return f"{folder}/50-{key}.cfg", f"{folder}/routes/{key}.json"


def _page_file(site: Site) -> str:
    """Return what users are shown while the app is in maintenance."""
    return f"{_folder(site)}/maintenance-{site.app}-{site.env}.html"


def _folder(site: Site) -> str:
    folder = site.system(FOLDER)
    if not PATH.match(folder):
        raise SettingsError(f"{folder!r} cannot be written into a configuration of HAProxy")
    return folder


def _state_file(pool: Pool) -> str:
    return pool.site.system(f"/run/haproxy/deploy-{pool.name}.state")


def _service(site: Site, systemd: bool) -> Argv:
    """Return how the tool finds the service that it is about."""
    if systemd:
        return ("--main", "/etc/haproxy/haproxy.cfg")
    control = (site.prefix + "/usr/bin/supervisorctl", "-c", site.prefix + "/etc/supervisor/supervisord.conf")
    # argparse would take `-c` for an option of the tool, hence one word.
    return ("--supervisorctl", json.dumps(control if site.prefix else control[:1]))


def _tool(site: Site, verb: str) -> Argv:
    folder, socket = site.system(FOLDER), site.system(SOCKET)
    return ("/usr/bin/env", "python3", "-IS", site.system(TOOL), verb, "--folder", folder, "--socket", socket)
