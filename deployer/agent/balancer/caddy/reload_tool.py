"""What a balancer host does with Caddy. Setup installs this one file; it needs no other of ours.

    python3 -IS caddy_reload.py prepare --prefix ""     what the service needs before it starts
    python3 -IS caddy_reload.py run     --prefix ""     becomes Caddy: the service's own command
    python3 -IS caddy_reload.py apply   --prefix ""     makes changed apps live, or leaves all as it was and says why

    /etc/deploy/caddy/apps/<app>-<env>.json    one app, written by setup and push
    /var/lib/deploy/caddy-slots/<pool>/<slot>  where the requests of one slot go: its address, or nowhere
    /run/deploy-caddy/caddy.json               what Caddy was told last; made of the apps' files
    /run/deploy-caddy/requests.log             the last requests: what came of them at which address, and how fast

**Draining costs no reload.** An upstream's address in Caddy's configuration is `{file.…/<slot>}`, which Caddy reads for
every request and every health check. To drain is to replace that file by one that leads nowhere: the next request that
picks the slot cannot connect, so nothing was sent, and it goes to another. The files outlive Caddy and the host.

**Reloading costs no idle connection.** It would close them all. `shutdown_delay` keeps the old servers for
as long as an idle connection lasts, and their answers say `Connection: close` meanwhile. Caddy grants that delay only
to servers of which a listener ends with the reload: hence a socket named after the configuration (`GENERATION`). And it
would reset what waits to be accepted, since each configuration listens by itself: hence `run` listens, once, and Caddy
is given the sockets (`fd/3`). An address that came later is Caddy's own until the next start. What is left is a race
of Go's: a server that ends drops a connection that it had accepted and not yet read a request from.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable

UNIT = "deploy-caddy.service"
PROGRAM = "caddy"
OLDEST = (2, 11, 4)  # retries that know a lost connection from an answer, and bodies that outlive a failed dial
NOWHERE = "unix//nonexistent/"  # with `drain` or `maint` behind it: nobody can listen there
IDLE = 15  # seconds that an idle client connection is kept
STARTS_WITHIN = 30.0  # seconds
_STARTING = 5.0  # seconds from listening to answering
LOADS_WITHIN = IDLE + 45.0  # seconds: Caddy answers when the old servers have ended
GENERATION = "g-%s-%d.sock"
ANY_HOST = "*"
PLACES = ".places"  # beside the files of a pool's slots: where each was when they were made
ACCESS = "http.log.access.deploy"  # what Caddy calls the log of a server whose logger is `deploy`


class Refused(Exception):
    """The configuration cannot be made live; nothing changed. The text is for a person."""


class Places:
    """Where everything of Caddy lies on a host; below `prefix` in a lab of processes."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.apps = prefix + "/etc/deploy/caddy/apps"
        self.certificates = prefix + "/etc/deploy/caddy/certificates"
        self.state = prefix + "/var/lib/deploy"
        self.slots = self.state + "/caddy-slots"
        self.booted = self.slots + "/.boot"
        self.home = prefix + "/var/lib/deploy-caddy"
        self.run = prefix + "/run/deploy-caddy"
        self.config = self.run + "/caddy.json"
        self.sockets = self.run + "/sockets.json"
        self.admin = self.run + "/admin.sock"
        self.ask = self.run + "/ask.sock"
        self.requests = self.run + "/requests.log"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def admin(path: str, method: str, what: str, body: str = "", timeout: float = 5.0) -> tuple[int, str]:
    """Status and text of one request to Caddy's admin socket; OSError when nobody answers within `timeout` seconds."""
    connection = UnixConnection(path, timeout)
    try:
        connection.request(method, what, body or None, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise OSError(f"Caddy's answer is none: {error!r}") from error
    finally:
        connection.close()


def write_slot(path: str, text: str) -> None:
    """`write` for a slot's file: its time is that of the boot-time clock, which nobody can set (`age_of_slot`)."""
    write(path, text, modified=_boot_clock())


def age_of_slot(path: str) -> float | None:
    """Seconds since a slot's file was written; None when that was before the last boot, or is not known."""
    age = _boot_clock() - os.stat(path).st_mtime
    return age if age >= 0 else None


def _boot_clock() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def write(path: str, text: str, modified: float | None = None) -> None:
    """Replaces a file whole, on the disk when this returns: a reader sees the old text or the new one.

    `modified` is the file's modification time; the current time by default.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = "%s/.%s.%d.new" % (folder, os.path.basename(path), os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if modified is not None:
            os.utime(file.fileno(), (modified, modified))
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: str) -> str:
    """The file's text; empty when there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def apps_in(folder: str) -> list[dict[str, Any]]:
    """Every app's `{app, pool, listen, port, server, domains, slots, drained, secure, handle, ask}`, by name."""
    return [json.loads(read(path)) for path in sorted(glob.glob(glob.escape(folder) + "/*.json"))]


def slot_admin(text: str) -> str:
    """What a slot's file asks for: `ready`, `drain` or `maint`."""
    if not text.startswith(NOWHERE):
        return "ready"
    return "drain" if text.strip() == NOWHERE + "drain" else "maint"


def slot_text(place: str, admin: str) -> str:
    """The content of a slot's file that makes it so."""
    return (place if admin == "ready" else NOWHERE + admin) + "\n"


def held_as(record: dict[str, Any] | None) -> str:
    """What a record of `drained` asks for, once the run that may have made it is gone."""
    by = record["by"] if record else "run"
    return {"run": "ready", "spare": "maint"}.get(by, "drain")


# --- one configuration of all apps


def merged(apps: list[dict[str, Any]], places: Places, sockets: dict[str, int]) -> str:
    """Caddy's whole configuration; `sockets` are those it was started with: address → number.

    Raises Refused when two apps want the same name, or the whole of one address.
    """
    used = [place["listen"] for _, place in served(apps)]
    servers: dict[str, dict[str, Any]] = {
        "unused-%d" % fd: {"listen": at, "names": {}} for at, fd in sockets.items() if at not in used
    }
    for app, place in served(apps):
        server = servers.setdefault(place["server"], {"listen": place["listen"], "names": {}, "tls": place is not app})
        if server["tls"] != (place is not app):
            raise Refused(f"{place['listen']} is to speak TLS for one app and plain HTTP for another")
        for name in app["domains"] or [ANY_HOST]:
            if name in server["names"]:
                raise Refused(_clash(name, server["names"][name], app, place))
            server["names"][name] = app
    server_configs = {
        name: _server(_where(server["listen"], sockets), server["names"], server.get("tls", False))
        for name, server in sorted(servers.items())
    }
    generation = hashlib.sha256(json.dumps(server_configs, sort_keys=True).encode("utf-8")).hexdigest()[:8]
    for number, server in enumerate(server_configs.values()):
        server["listen"].append(f"unix/{places.run}/{GENERATION % (generation, number)}")
    server_configs["ask"] = {
        "listen": [f"unix/{places.ask}|0600"],
        "automatic_https": {"disable": True},
        "protocols": ["h1"],
        "routes": [
            {
                "match": [{"header": {"X-Deploy-Slot": [f"{app['pool']}/{slot}"]}}],
                "handle": [_quietly(handle)],
            }
            for app in apps
            for slot, handle in sorted(app["ask"].items())
        ],
    }
    whole = {
        "admin": {"listen": f"unix/{places.admin}|0600", "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN", "exclude": [ACCESS]}, "requests": _log(places.requests)}},
        "apps": {
            "http": {"shutdown_delay": "%ds" % (IDLE + 1), "grace_period": "30s", "servers": server_configs},
            **_tls(apps),
        },
    }
    return json.dumps(whole, indent=1) + "\n"


def _log(path: str) -> dict[str, Any]:
    """The log of requests, at most twice its size: when it ended, its status, and what the app's handler appended."""
    unused = ("request", "resp_headers", "user_id", "bytes_read", "size", "duration")
    return {
        "include": [ACCESS],
        "writer": {"output": "file", "filename": path, "roll_size_mb": 2, "roll_keep": 1, "roll_gzip": False},
        "encoder": {
            "format": "filter",
            "wrap": {"format": "json", "message_key": "", "level_key": "", "name_key": ""},
            "fields": {name: {"filter": "delete"} for name in unused},
        },
    }


def served(apps: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every app with where it is served, `{listen, server}`: plain, and with TLS where it has that."""
    return [(app, place) for app in apps for place in (app, app.get("secure")) if place]


def listens(apps: list[dict[str, Any]]) -> list[str]:
    """Every address of theirs, once."""
    return sorted({place["listen"] for _, place in served(apps)})


def _tls(apps: list[dict[str, Any]]) -> dict[str, Any]:
    """Certificates: those that were given, and those that Caddy is to get. Its own authority is nobody else's."""
    secure = [(app, app["secure"]) for app in apps if app.get("secure")]
    files = [
        {"certificate": endpoint["certificate"], "key": endpoint["certificate"], "tags": [endpoint["tag"]]}
        for _, endpoint in secure
        if "certificate" in endpoint
    ]
    automatic = [(app, endpoint) for app, endpoint in secure if "certificate" not in endpoint]
    policies = []
    for app, endpoint in automatic:
        # Where a challenge is answered is where Caddy is served; elsewhere than usual it has to be told.
        ports = {"http": {"alternate_port": app["port"]}, "tls-alpn": {"alternate_port": endpoint["port"]}}
        usual = (app["port"], endpoint["port"]) == (80, 443)
        issuers = [i if usual or i["module"] != "acme" else {**i, "challenges": ports} for i in endpoint["issuer"]]
        policies.append({"subjects": app["domains"], **({"issuers": issuers} if issuers else {})})
    certificates: dict[str, Any] = {"load_files": files} if files else {}
    if automatic:
        certificates["automate"] = sorted({name for app, _ in automatic for name in app["domains"]})
    settings: dict[str, Any] = {"tls": {"certificates": certificates}} if secure else {}
    if policies:
        settings["tls"]["automation"] = {"policies": policies}
        settings["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    return settings


def _quietly(handle: list[dict[str, Any]]) -> dict[str, Any]:
    """The same answers, without a line in the log for each slot that does not serve."""
    status = {"handler": "static_response", "status_code": "{http.error.status_code}"}
    return {"handler": "subroute", "routes": [{"handle": handle}], "errors": {"routes": [{"handle": [status]}]}}


def _where(listen: str, sockets: dict[str, int]) -> str:
    return "fd/%d" % sockets[listen] if listen in sockets else listen


def _server(listen: str, names: dict[str, dict[str, Any]], tls: bool) -> dict[str, Any]:
    ending = {"match": [{"expression": "{http.shutting_down} == true"}]}
    routes: list[dict[str, Any]] = [
        {**ending, "handle": [{"handler": "headers", "response": {"set": {"Connection": ["close"]}}}]}
    ]
    named: dict[str, list[str]] = {}
    apps_by_pool: dict[str, dict[str, Any]] = {}
    for name, app in sorted(names.items()):
        named.setdefault(app["pool"], []).append(name)
        apps_by_pool[app["pool"]] = app
    for pool in sorted(named, key=lambda pool: (ANY_HOST in named[pool], pool)):
        match = {} if named[pool] == [ANY_HOST] else {"match": [{"host": named[pool]}]}
        if apps_by_pool[pool].get("secure") and not tls:
            elsewhere = {"host": named[pool], "not": [{"path": ["/.well-known/acme-challenge/*"]}]}
            routes.append(
                {"match": [elsewhere], "handle": [_redirect(apps_by_pool[pool]["secure"]["port"])], "terminal": True}
            )
        routes.append({**match, "handle": apps_by_pool[pool]["handle"], "terminal": True})
    if ANY_HOST not in names:
        not_served = {"handler": "static_response", "status_code": 404, "body": "no app serves this name here"}
        routes.append({"handle": [not_served]})
    trusted = sorted({network for app in apps_by_pool.values() for network in app.get("trusted_proxies") or ()})
    proxies = {"trusted_proxies": {"source": "static", "ranges": trusted}, "trusted_proxies_strict": 1}
    secure = {
        "protocols": ["h1", "h2"],
        "strict_sni_host": True,
        "tls_connection_policies": _policies(named, apps_by_pool),
    }
    return {
        "listen": [listen],
        "idle_timeout": "%ds" % IDLE,
        "read_header_timeout": "15s",
        **(secure if tls else {"protocols": ["h1"]}),
        **(proxies if trusted else {}),
        "automatic_https": {"disable": True},
        "logs": {"default_logger_name": "deploy"},
        "routes": routes,
    }


def _policies(named: dict[str, list[str]], apps_by_pool: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Which certificate is for which name; a name that is none of these gets no handshake."""
    policies = []
    for pool, names in sorted(named.items()):
        tag = (apps_by_pool[pool].get("secure") or {}).get("tag")
        selected = {"certificate_selection": {"any_tag": [tag]}} if tag else {}
        policies.append({"match": {"sni": names}, "protocol_min": "tls1.2", **selected})
    return policies


def _redirect(port: int) -> dict[str, Any]:
    location = "https://{http.request.host}" + ("" if port == 443 else ":%d" % port) + "{http.request.uri}"
    return {"handler": "static_response", "status_code": 308, "headers": {"Location": [location]}}


def _clash(name: str, first: dict[str, Any], second: dict[str, Any], place: dict[str, Any]) -> str:
    app_names = f"{first['app']} and {second['app']}"
    if name == ANY_HOST:
        return (
            f"{app_names} both want every request at {place['listen']}: give one of them `domains`, or its own "
            "`balancer.listen` (`deploy_listen`, where the inventory sets that)"
        )
    return f"{app_names} both serve {name} at {place['listen']}: take it out of the `domains` of one"


# --- the files of the slots


def lay_slots(apps: list[dict[str, Any]], places: Places) -> None:
    """Makes the files of slots: each is what the slot was that is at its place, whatever its name.

    A slot at a place where none was is in maintenance until somebody admits it. Where all are new they are left to the
    health checks: nobody else could serve meanwhile.
    """
    for app in apps:
        folder = f"{places.slots}/{app['pool']}"
        records = json.loads(read(app["drained"]) or "{}")
        texts = {slot: read(f"{folder}/{slot}") for slot in _laid(folder)}
        before = _names_before(app["slots"], _placed(folder, texts, app["slots"]))
        for slot, place in app["slots"].items():
            record = records.get(slot)
            if record and record.get("at") not in (None, _without_network(place)):
                record = None
            if slot in before and texts.get(before[slot]):
                admin_state = slot_admin(texts[before[slot]])
            else:
                admin_state = "maint" if before and record is None else held_as(record)
            if texts.get(slot) != slot_text(place, admin_state):
                write_slot(f"{folder}/{slot}", slot_text(place, admin_state))
        if app["slots"] != json.loads(read(f"{folder}/{PLACES}") or "{}"):
            write(f"{folder}/{PLACES}", json.dumps(app["slots"], indent=1) + "\n")


def _laid(folder: str) -> list[str]:
    """The slots that have a file."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [name for name in names if not name.startswith(".")]


def _placed(folder: str, texts: dict[str, str], slots: dict[str, str]) -> dict[str, str]:
    """Slot → where it was when the files were made last.

    A slot that no list of places has is where its file says; one that is held out, where it is now.
    """
    known: dict[str, str] = json.loads(read(f"{folder}/{PLACES}") or "{}")
    written_places = {
        name: text.strip() if slot_admin(text) == "ready" else slots.get(name, "") for name, text in texts.items()
    }
    return {name: known.get(name, at) for name, at in written_places.items()}


def _names_before(current_places: dict[str, str], previous_places: dict[str, str]) -> dict[str, str]:
    """Slot → the name before of the slot that is at its place; its own name comes first.

    `previous_places`: who was where.
    """
    previous_names = {name: name for name, place in current_places.items() if previous_places.get(name) == place}
    free = {place: name for name, place in previous_places.items() if name not in previous_names}
    for name, place in current_places.items():
        if name not in previous_names and place in free:
            previous_names[name] = free.pop(place)
    return previous_names


def _without_network(place: str) -> str:
    """As `agent.model.endpoints` writes a place that Caddy dials."""
    return place[len("unix/") :] if place.startswith("unix/") else place


def remove_slots(apps: list[dict[str, Any]], places: Places) -> None:
    """Removes files of slots that no app has any more."""
    slot_paths = {f"{places.slots}/{app['pool']}/{slot}" for app in apps for slot in app["slots"]}
    for path in glob.glob(glob.escape(places.slots) + "/*/*"):
        if path not in slot_paths:
            os.unlink(path)
    for folder in glob.glob(glob.escape(places.slots) + "/*/"):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def settle(apps: list[dict[str, Any]], places: Places) -> None:
    """After a boot of the host: what a run had drained is admitted, since that run's watchdog is gone with the boot.

    What a person or a quarantine holds stays out, and so do spare slots.
    """
    boot = read("/proc/sys/kernel/random/boot_id")
    if boot and boot == read(places.booted):
        return
    for app in apps:
        records = json.loads(read(app["drained"]) or "{}")
        for slot, place in app["slots"].items():
            path = f"{places.slots}/{app['pool']}/{slot}"
            now, admin_state = slot_admin(read(path)), held_as(records.get(slot))
            if now != admin_state and not (now == "maint" and slot not in records):
                write_slot(path, slot_text(place, admin_state))
    write(places.booted, boot)


# --- the service


class Service:
    """Caddy under systemd, or under supervisord when `supervisorctl` is given: that command, as words."""

    def __init__(self, supervisorctl: list[str]) -> None:
        self._supervisorctl = supervisorctl

    def start(self) -> None:
        """Starts it; does nothing to one that runs."""
        if self._supervisorctl:
            _run([*self._supervisorctl, "start", PROGRAM], check=False)  # it says ERROR when it runs already
            return
        _run(["systemctl", "daemon-reload"])
        _run(["systemctl", "reset-failed", UNIT], check=False)
        _run(["systemctl", "start", UNIT])  # of type exec: whether Caddy then serves is waited for

    def runs(self) -> bool:
        """Whether its supervisor has it running."""
        if self._supervisorctl:
            return _run([*self._supervisorctl, "pid", PROGRAM], check=False).strip() not in ("", "0")
        return _run(["systemctl", "is-active", UNIT], check=False).strip() == "active"

    def restart_command(self) -> str:
        """What a person types on this host to restart it."""
        return " ".join(
            [*self._supervisorctl, "restart", PROGRAM] if self._supervisorctl else ["systemctl restart", UNIT]
        )

    def log(self) -> str:
        """The last lines Caddy wrote."""
        if self._supervisorctl:
            return "".join(
                _run([*self._supervisorctl, "tail", "-2000", PROGRAM, channel], check=False) for channel in _STREAMS
            )
        return _run(["journalctl", "-u", UNIT, "-n", "15", "-o", "cat", "--no-pager"], check=False)


_TAKEN = "%s is taken on this host by another program: free it, or choose another `balancer.listen`"
_STREAMS = ("stdout", "stderr")  # where its messages are depends on `redirect_stderr`


def answers(places: Places) -> bool:
    """Whether Caddy serves its admin socket."""
    try:
        return admin(places.admin, "GET", "/config/admin/listen", timeout=2.0)[0] == 200
    except OSError:
        return False


def apply(places: Places, service: Service) -> str:
    """Makes the apps' configuration live; returns what was done in a word. Refused: what served before serves on."""
    apps = apps_in(places.apps)
    merged(apps, places, {})
    lay_slots(apps, places)
    program(places)
    done = "reloaded"
    if not answers(places):
        _start(apps, places, service)
        done = "started"
    text = merged(apps, places, json.loads(read(places.sockets) or "{}"))
    _check(places, text)
    _load(places, text)
    write(places.config, text)
    remove_slots(apps, places)
    return done


def _start(apps: list[dict[str, Any]], places: Places, service: Service) -> None:
    if service.runs() and not os.path.exists(places.admin) and not _within(_STARTING, lambda: answers(places)):
        raise Refused(
            f"Caddy runs, and its admin socket {places.admin} is gone. It opens that only when it starts, "
            "and takes no connections "
            f"meanwhile: {service.restart_command()}"
        )
    try:
        _refuse_taken(apps)
    except Refused:
        if not _within(_STARTING, lambda: answers(places)):  # its supervisor may be starting it just now
            raise
    service.start()
    if not _within(STARTS_WITHIN, lambda: answers(places)):
        raise Refused(f"Caddy did not start; its last lines:\n{service.log().rstrip()}")


def _load(places: Places, text: str) -> None:
    status, response = admin(places.admin, "POST", "/load", text, timeout=LOADS_WITHIN)
    if status != 200:
        taken = re.search(r"listen tcp ([^ ]*): bind: address already in use", response)
        if taken:
            raise Refused(_TAKEN % taken[1])
        raise Refused(f"Caddy refuses the configuration, the old one goes on serving: {response.strip()[:2000]}")


def _refuse_taken(apps: list[dict[str, Any]]) -> None:
    """Refused if someone else listens where an app is to be served, while Caddy does not run."""
    for listen in listens(apps):
        with contextlib.suppress(PermissionError):
            bound(listen).close()


def bound(listen: str) -> socket.socket:
    """A socket bound to `:80` or `ADDRESS:80`, that does not listen yet; Refused when the address is taken."""
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    dual_stack = not address and socket.has_dualstack_ipv6()
    bound_socket = socket.socket(
        socket.AF_INET6 if dual_stack or ":" in address else socket.AF_INET, socket.SOCK_STREAM
    )
    try:
        bound_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bound_socket.family == socket.AF_INET6:
            bound_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        bound_socket.bind((address or ("::" if dual_stack else "0.0.0.0"), int(port)))
    except OSError as error:
        bound_socket.close()
        if isinstance(error, PermissionError):
            raise
        raise Refused(_TAKEN % listen) from error
    return bound_socket


def _check(places: Places, text: str) -> None:
    # The check opens its logs, and makes those that are not there its own: they are Caddy's user's.
    write(places.config + ".new", text.replace(json.dumps(places.requests), json.dumps(os.devnull)))
    with tempfile.TemporaryDirectory() as home:  # a check may make an authority's keys, which would then be root's
        done = subprocess.run(
            [program(places), "validate", "--config", places.config + ".new"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**environment(places), "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
        )
    os.unlink(places.config + ".new")
    if done.returncode != 0:
        raise Refused("Caddy refuses the configuration:\n" + "\n".join(done.stderr.splitlines()[-5:]))


def prepare(places: Places) -> None:
    """Before a start, as root: every slot's file, and what a boot of the host undoes."""
    os.makedirs(places.run, exist_ok=True)
    os.makedirs(places.home, exist_ok=True)
    apps = apps_in(places.apps)
    lay_slots(apps, places)
    settle(apps, places)


def program(places: Places) -> str:
    """The path of a Caddy that is new enough: the host's own, else the one that was given to it last."""
    own = shutil.which("caddy", path="/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin")
    managed_paths = sorted(glob.glob(glob.escape(places.state) + "/caddy/[0-9]*/caddy"), key=os.path.getmtime)
    too_old = ""
    for path in [*([own] if own and not places.prefix else []), *managed_paths[::-1]]:
        installed_version = version(path)
        if installed_version >= OLDEST:
            return path
        too_old = f"; {path} is {'.'.join(map(str, installed_version)) or 'no Caddy'}"
    oldest = ".".join(map(str, OLDEST))
    raise Refused(f"this host has no Caddy {oldest} or later{too_old}; setup brings one")


def version(path: str) -> tuple[int, ...]:
    """`(2, 11, 7)`; empty when it does not say."""
    done = subprocess.run([path, "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in match.groups()) if match else ()


def environment(places: Places) -> dict[str, str]:
    """Caddy's own: it keeps what it must remember (the certificates that it got) below its home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return {**kept, "HOME": places.home, "XDG_DATA_HOME": places.home, "XDG_CONFIG_HOME": places.home}


def run(places: Places) -> None:
    """Becomes Caddy; returns only by raising Refused or OSError.

    Apps that clash were never accepted: a crash left the second one's file, and `apply` is going to refuse it.
    """
    caddy = program(places)
    apps: list[dict[str, Any]] = []
    for app in apps_in(places.apps):
        try:
            merged([*apps, app], places, {})
            apps.append(app)
        except Refused as error:
            print(error, file=sys.stderr)
    sockets = {listen: _listening(listen) for listen in listens(apps)}
    write(places.sockets, json.dumps(sockets))
    write(places.config, merged(apps, places, sockets))
    os.execve(caddy, [caddy, "run", "--config", places.config], environment(places))  # noqa: S606


def _listening(listen: str) -> int:
    bound_socket = bound(listen)
    bound_socket.listen(4096)
    bound_socket.set_inheritable(True)
    return bound_socket.detach()


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _run(command: list[str], check: bool = True) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    if check and done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise Refused("`%s` ended with status %d:\n%s" % (" ".join(command), done.returncode, output))
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def main(argv: list[str] | None = None) -> int:
    """Runs `prepare`, `run` or `apply`; 0 when done, 1 when refused (why is on stderr)."""
    parser = argparse.ArgumentParser(prog="caddy_reload")
    parser.add_argument("verb", choices=("prepare", "run", "apply"))
    parser.add_argument("--prefix", default="")
    parser.add_argument("--supervisorctl", default=[], type=json.loads, help="a JSON list of words")
    args = parser.parse_args(argv)
    places = Places(args.prefix)
    try:
        if args.verb == "prepare":
            prepare(places)
        elif args.verb == "run":
            if places.prefix:  # systemd has run it as root; a lab's supervisord runs one command
                prepare(places)
            run(places)
        else:
            print(apply(places, Service(args.supervisorctl)))
    except (Refused, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
