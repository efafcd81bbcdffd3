"""Caddy: a service of our own with a configuration of our own; the host's own Caddy, if it has one, is never touched.

    /etc/deploy/caddy/apps/<app>-<env>.json    one app: its names, its slots, the handler that spreads its requests
    /etc/deploy/caddy/certificates/…           its certificate and key, where Caddy is not to get one itself
    /usr/local/lib/deploy/caddy_reload.py      joins the apps, starts and reloads Caddy; see there how draining works

An app is written as Caddy's own JSON, so that no value can break out of its place.
"""

from __future__ import annotations

import json
import re
from importlib import resources as package_data
from typing import Any

from deployer import templating
from deployer.agent.balancer.caddy.reload_tool import Places
from deployer.agent.model.endpoints import socket_of
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Absent, Directory, File, Listener, Resource, Service, User
from deployer.agent.model.supervision import USUAL_REFUSALS, Argv, Health
from deployer.balancers.base import Balancer, Front, Pool, Server
from deployer.balancers.https import certificate, certificate_path, no_certificate
from deployer.balancers.page import RETRY_AFTER_S, page
from deployer.balancers.values import PATH, Listen, domain, served, server, word
from deployer.errors import SettingsError

HANDLER = "caddy-apply"
TOOL = "/usr/local/lib/deploy/caddy_reload.py"
UNIT = "/etc/systemd/system/deploy-caddy.service"
USER = "deploy-caddy"

CHECK_EVERY_MS = 500
SETTLED_S = 0.75
"""Seconds after which the pool's own health check has come by: an interval, and time for it to be answered."""
MOST_FAILS = 5
"""Requests a second that could not be passed on until a slot gets none for a second."""

_HEADER = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
_URI = re.compile(r"^/[!-~]*$")

# A lost connection is repeated only where that is safe, and only if no other request to that slot was lost within the
# second: a request that itself kills its connection must not be tried on every server.
_RETRY = (
    "{http.reverse_proxy.is_transport_error} == true && "
    "{http.request.method} in ['GET', 'HEAD', 'OPTIONS'] && "
    "{http.reverse_proxy.upstream.fails} == 0"
)


class Caddy(Balancer):
    """Caddy 2.11.4 or later, under systemd as `deploy-caddy.service`, or a program of supervisord in a lab."""

    name = "caddy"
    service = "deploy-caddy"
    serves_tls = True
    obtains_certificates = True
    serves_files = True

    def base(self, site: Site, *, systemd: bool) -> list[Resource]:
        """Return what all apps share: folders and the tool; under systemd a user without rights and the unit."""
        places = _places(site)
        source = (
            package_data.files("deployer.agent.balancer.caddy").joinpath("reload_tool.py").read_text(encoding="utf-8")
        )
        own: list[Resource] = [
            Directory(site.system("/etc/deploy")),
            Directory(site.system("/etc/deploy/caddy")),
            Directory(places.apps),
            Directory(site.system("/usr/local/lib/deploy")),
            File(site.system(TOOL), source, mode="0755", notify=(HANDLER,)),
            Listener(places.admin, notify=(HANDLER,)),
        ]
        if not systemd:
            return own
        unit = templating.render(
            "caddy/deploy-caddy.service.j2", user=USER, prepare=_tool(site, "prepare"), run=_tool(site, "run")
        )
        return [
            User(USER, home=places.home),
            *own,
            File(UNIT, unit, notify=(HANDLER,)),
            Service("deploy-caddy"),
        ]

    def resources(self, pool: Pool) -> list[Resource]:
        """Return the app's file.

        Everything in it was checked. Raises SettingsError for a value that Caddy cannot express.
        """
        if pool.websocket_timeout is not None:
            raise SettingsError(
                "balancer.websocket_timeout: Caddy has no such limit: it keeps a websocket as long as both ends do",
                hint="leave it out, or have the app send pings",
            )
        text = json.dumps(_app(pool), indent=1) + "\n"
        return [
            # Caddy's own user reads it; in a lab of processes that is whoever runs it.
            *certificate(pool, _places(pool.site).certificates, HANDLER, owner="" if pool.site.prefix else USER),
            File(_app_file(pool.site), text, notify=(HANDLER,)),
        ]

    def absent(self, pool: Pool) -> list[Resource]:
        """Return the app's file and certificate."""
        file = Absent(_app_file(pool.site), notify=(HANDLER,))
        return [file, *no_certificate(pool, _places(pool.site).certificates, HANDLER)]

    def handlers(self, site: Site, *, systemd: bool) -> dict[str, tuple[Argv, ...]]:
        """Return one command: join the apps, check, load or start; else restore and print the cause."""
        command = _tool(site, "apply")
        if not systemd:
            control = (site.prefix + "/usr/bin/supervisorctl", "-c", site.prefix + "/etc/supervisor/supervisord.conf")
            # argparse would take `-c` for an option of the tool, hence one word.
            command = (*command, "--supervisorctl", json.dumps(control if site.prefix else control[:1]))
        return {HANDLER: (command,)}

    def check(self, site: Site, *, systemd: bool) -> Argv:
        """None: Caddy's configuration is deploy's alone, and was checked when it was loaded."""
        return ()

    def front(self, pool: Pool) -> Front | None:
        """None: its configuration consists of deploy's apps only."""
        return None

    def driver(self, pool: Pool) -> dict[str, Any]:
        """`{"kind", "socket", "ask", "app", "slots", "requests"}`: paths on the balancer host."""
        if not pool.options.get("manage", True):
            raise SettingsError(
                "balancer.manage: false does not work with Caddy, which cannot take a server out without a reload",
                hint="let deploy write the pool (leave manage out), or use kind: command with commands of your own",
            )
        places = _places(pool.site)
        return {
            "kind": self.name,
            "socket": places.admin,
            "ask": places.ask,
            "app": _app_file(pool.site),
            "slots": f"{places.slots}/{word(pool.name, 'balancer.backend')}",
            "requests": places.requests,
        }


def _app(pool: Pool) -> dict[str, Any]:
    listen = _listen(pool.listen)
    name = word(pool.name, "balancer.backend")
    folder = f"{_places(pool.site).slots}/{name}"
    servers = [server(pool_server) for pool_server in pool.servers]
    dials = {pool_server.name: {"dial": f"{{file.{folder}/{pool_server.name}}}"} for pool_server in servers}
    return {
        "app": f"{pool.site.app} in {pool.site.env}",
        "pool": name,
        "listen": listen.text,
        "port": listen.port,
        "server": listen.name,
        "domains": sorted({domain(domain_name) for domain_name in pool.domains}),
        "drained": pool.site.drained,
        "secure": _secure(pool),
        "trusted_proxies": list(pool.trusted_proxies),
        "settled": SETTLED_S,
        "most_fails": MOST_FAILS,
        "slots": {pool_server.name: _dialled(pool_server) for pool_server in servers},
        "handle": [_maintenance(pool, folder), *_files(pool), *_NOTED, _proxy(pool, list(dials.values()))],
        "ask": {slot: [_twin(pool, dial)] for slot, dial in dials.items()},
    }


def _listen(text: str) -> Listen:
    """Return where Caddy listens. At `:80` it listens with IPv4 and IPv6, so `[::]:80` is the same place."""
    listen = Listen.parse(text)
    return Listen("0.0.0.0", listen.port) if listen.address == "::" else listen


def _dialled(slot: Server) -> str:
    """Return where a slot is, as Caddy's `dial` takes it."""
    path = socket_of(slot.address, slot.port)
    return f"unix/{path}" if path else f"{slot.address}:{slot.port}"


def _secure(pool: Pool) -> dict[str, Any] | None:
    """Return how the app is served with TLS: `{listen, …, certificate, tag}` for a given certificate, else `{…,
    issuer}`.

    Caddy reloads only what differs, so a renewed certificate has another tag.
    """
    https = pool.https
    if https is None:
        return None
    listen = _listen(https.listen)
    entry = {"listen": listen.text, "port": listen.port, "server": listen.name}
    if https.certificate is not None:
        tag = f"{pool.site.app}-{pool.site.env}-{https.certificate.sha256[:12]}"
        return {**entry, "certificate": certificate_path(pool, _places(pool.site).certificates), "tag": tag}
    if https.issuer == "internal":
        return {**entry, "issuer": [{"module": "internal"}]}
    # Caddy's usual issuers are two, of which the second needs no address of mail.
    acme_options = {"ca": https.issuer, "email": https.email}
    acme = {"module": "acme", **{key: value for key, value in acme_options.items() if value}}
    return {**entry, "issuer": [acme] if len(acme) > 1 else []}


def _maintenance(pool: Pool, folder: str) -> dict[str, Any]:
    """Return the page that users get while a file says so; else what comes behind this."""
    response = {
        "handler": "static_response",
        "status_code": 503,
        "headers": {
            "Content-Type": ["text/html; charset=utf-8"],
            "Retry-After": [str(RETRY_AFTER_S)],
            "Cache-Control": ["no-store"],
        },
        "body": page(pool).replace("{", "\\{"),
    }
    closed = {"file": {"root": folder, "try_files": ["/.maintenance"]}}
    return {"handler": "subroute", "routes": [{"match": [closed], "handle": [response], "terminal": True}]}


def _files(pool: Pool) -> list[dict[str, Any]]:
    """Return static files that lie on this host; what is not there comes from behind this."""
    www = served(pool)
    if www is None:
        return []
    matcher = {
        "method": ["GET", "HEAD"],
        "path": [www.url + "*"],
        "file": {"root": www.root, "try_files": ["{http.request.uri.path}"]},
    }
    send = {"handler": "file_server", "root": www.root}
    return [{"handler": "subroute", "routes": [{"match": [matcher], "handle": [send], "terminal": True}]}]


def _proxy(pool: Pool, upstreams: list[dict[str, str]]) -> dict[str, Any]:
    """Return the pool: spread by what is in flight, again elsewhere when a slot cannot be connected to."""
    return {
        "handler": "reverse_proxy",
        "upstreams": upstreams,
        "load_balancing": {
            "selection_policy": {"policy": "least_conn"},
            "try_duration": "8s",
            # What waits to try again when a configuration is replaced gets a 502, hence so short.
            "try_interval": "10ms",
            "retry_match": [{"expression": _RETRY}],
        },
        "health_checks": {**_checks(pool), "passive": {"fail_duration": "1s", "max_fails": MOST_FAILS}},
        "transport": _transport(pool, "5m"),
        "headers": {"request": {"set": {"X-Forwarded-For": ["{http.vars.client_ip}"]}}},
        # Websockets outlive a reload; this bounds how long.
        "stream_close_delay": "30m",
    }


def _twin(pool: Pool, upstream: dict[str, str]) -> dict[str, Any]:
    """Return one slot with checks as the pool's: answers 204 when it is healthy and answers rightly now."""
    health = pool.health
    return {
        "handler": "reverse_proxy",
        "upstreams": [upstream],
        "rewrite": {"method": "GET", "uri": _literal(health.path)},
        "headers": {"request": {"delete": ["X-Deploy-Slot"], "set": _headers(pool)}},
        "health_checks": _checks(pool),
        "transport": _transport(pool, _seconds(health.timeout)),
        "handle_response": [
            {
                "match": {"status_code": _accepted(health)},
                "routes": [{"handle": [{"handler": "static_response", "status_code": 204}]}],
            },
            {"routes": [{"handle": [_ANSWERED]}]},
        ],
    }


_NOTED = [
    {"handler": "log_append", "key": key, "value": f"{{http.reverse_proxy.upstream.{name}}}"}
    for key, name in (("at", "hostport"), ("took", "latency_ms"))
]
"""Each request's line in the log says where it was answered, and after how many milliseconds; without: nowhere."""

_ANSWERED = {
    "handler": "static_response",
    "status_code": 502,
    "headers": {"X-Deploy-Answered": ["{http.reverse_proxy.status_code}"]},
}


def _checks(pool: Pool) -> dict[str, Any]:
    """Caddy's own health checks. It can ask for one status, or for none in particular: then they are left out."""
    health = pool.health
    if not _URI.match(health.path):
        raise SettingsError(
            f"health.path: {health.path!r} is not a valid path", hint="write it as in a URL, from the slash on"
        )
    if health.status is None or health.lenient:
        return {}
    active = {
        "uri": health.path,
        # Caddy's checks know all UNIX sockets by one name: on a kept connection another one would answer.
        "headers": {**_headers(pool), "Connection": ["close"]},
        "interval": f"{CHECK_EVERY_MS}ms",
        "timeout": _seconds(health.timeout),
        "fails": 2,
        "expect_status": health.status,
    }
    return {"active": active}


def _accepted(health: Health) -> list[int]:
    """Statuses that are healthy, as Caddy matches them: one digit is a whole class."""
    if health.lenient:
        return [1, 2, 3, 4]
    return [1, 2, 3, *USUAL_REFUSALS] if health.status is None else [health.status]


def _headers(pool: Pool) -> dict[str, list[str]]:
    health = pool.health
    for header in health.headers:
        if not _HEADER.match(header):
            raise SettingsError(f"health.headers: {header!r} is not a valid header name")
    host = health.host or next(iter(pool.domains), "localhost")
    others = sorted((name, value) for name, value in health.named_headers.items() if name.lower() != "host")
    return {name: [_literal(value)] for name, value in [("Host", host), *others]}


def _transport(pool: Pool, longest: str) -> dict[str, Any]:
    """Return plain HTTP; idle connections go well before the app closes them itself, or a POST would meet a
    closed one."""
    idle = max(100, round(pool.keepalive * 1000 * 0.4))
    return {
        "protocol": "http",
        "versions": ["1.1"],
        "dial_timeout": "3s",
        "response_header_timeout": longest,
        "keep_alive": {"enabled": True, "idle_timeout": f"{idle}ms", "max_idle_conns_per_host": 64},
    }


def _literal(text: str) -> str:
    """Return a value in which Caddy finds no placeholder."""
    return templating.oneline(text).replace("{", "\\{")


def _seconds(seconds: float) -> str:
    return f"{max(100, round(seconds * 1000))}ms"


def _app_file(site: Site) -> str:
    return f"{_places(site).apps}/{site.app}-{site.env}.json"


def _places(site: Site) -> Places:
    if site.prefix and not PATH.match(site.prefix):
        raise SettingsError(f"{site.prefix!r} cannot be written into a configuration of Caddy")
    return Places(site.prefix)


def _tool(site: Site, verb: str) -> Argv:
    where = ("--prefix", site.prefix) if site.prefix else ()
    return ("/usr/bin/env", "python3", "-IS", site.system(TOOL), verb, *where)
