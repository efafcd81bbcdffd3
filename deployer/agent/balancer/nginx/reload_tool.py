"""What a balancer host does to make a changed pool of nginx live. Setup installs this one file; it needs no other.

    python3 -IS nginx_reload.py apply --folder /etc/nginx/deploy --sockets /run/deploy-nginx

`apply` makes the folder's configuration live, or leaves everything as it was and says why. nginx's own check misses
much: of two servers with the same name it silently takes the first, and it does not look whether an address is free.

The folder holds `*.conf` files and `routes/<app>-<env>.json`, which setup writes, and what `apply` makes of them:

    10-host.conf       what the host's own configuration does not say already
    20-servers.conf    every app's servers, with addresses in place of names: nginx does not start without their DNS
    30-leaving.conf    listeners that no pool has any more: workers of before still ask them, for a minute
    90-<listen>.conf   404 for names that no app serves, at an address where nobody but us listens; with TLS no
                       handshake for them
    listen-<…>.inc     how that version of nginx is told to speak TLS and HTTP/2 at an address

With `--main /etc/nginx/modules-enabled` (Debian's nginx.conf includes that folder outside of `http`) it writes
`99-deploy.conf` there too, which bounds how long old workers keep websockets after a reload.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from typing import Any, Callable, Optional

LONGEST_RELOAD = 15.0  # seconds; nginx itself tries for about 2.5 s to bind an address
ANY_HOST = "*"
_KEEPALIVE_MIN_TIMEOUT = (1, 27, 4)  # since then a reload can leave idle clients time for one more request
_NOT_FOUND = """\
# Made by nginx_reload.py: names that no app serves at {listen}.
server {{
{listens}    server_name ~^;
    default_type text/plain;
    return 404 "no app serves this name here\\n";
}}
"""
_NO_HANDSHAKE = """\
# Made by nginx_reload.py: names that no app serves with TLS at {listen}.
server {{
{listens}    ssl_reject_handshake on;
    default_type text/plain;
    return 404 "no app serves this name here\\n";
}}
"""
_LEAVES = 60  # seconds for which workers of before may pass on what comes by connections that users keep open
_LEAVING = """\
# left {socket} {pool} {since}
server {{
    listen unix:{socket} backlog=4096;
    client_header_buffer_size 16k;
    large_client_header_buffers 8 64k;
    client_max_body_size 0;
    underscores_in_headers on;
    ignore_invalid_headers off;
    keepalive_timeout 0;
    access_log off;
    gzip off;
    proxy_cache off;
    proxy_buffering off;
    proxy_buffer_size 16k;
    proxy_buffers 8 16k;
    proxy_busy_buffers_size 32k;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection $deploy_connection;
    proxy_set_header Upgrade $http_upgrade;
    proxy_request_buffering on;
    proxy_next_upstream invalid_header non_idempotent;
    proxy_read_timeout 8d;
    proxy_send_timeout 8d;
    location / {{
        proxy_pass http://{pool};
    }}
}}
"""
_SSL_REJECT_HANDSHAKE = (1, 19, 4)  # the first that has it
_HTTP2_DIRECTIVE = (1, 25, 1)  # since then HTTP/2 is no word of `listen`
_UPSTREAM = re.compile(r"^upstream (\S+) \{\n((?:    server .*;\n)+)\}$", re.MULTILINE)
_LISTENERS = ("20-servers.conf", "30-leaving.conf")
App = dict[str, Any]
Texts = dict[str, Optional[str]]


class Refused(Exception):
    """The configuration cannot be made live; nothing changed. The text is for a person."""


class Service:
    """nginx under systemd, or under supervisord when `supervisorctl` is given: that command, as words."""

    def __init__(self, nginx: list[str], supervisorctl: list[str]) -> None:
        self._nginx = [shutil.which(nginx[0]) or "/usr/sbin/nginx", *nginx[1:]]
        self._supervisorctl = supervisorctl

    def version(self) -> tuple[int, ...]:
        """Such as (1, 22, 1); () when it is not told."""
        match = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", _run([*self._nginx, "-v"], check=False))
        return tuple(int(part) for part in match.groups()) if match else ()

    def dump(self) -> tuple[str, str]:
        """The whole configuration as nginx reads it, and what nginx remarks on it; Refused when it is wrong."""
        done = subprocess.run(
            [*self._nginx, "-T"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            lines = done.stderr.splitlines()
            raise Refused("nginx refuses the configuration:\n" + "\n".join(lines[-20:]))
        return done.stdout, done.stderr

    def workers(self) -> set[int]:
        """The process ids of those that serve now, without those that only end what they had begun."""
        master = self._pid()
        return {pid for pid in _children(master) if b"shutting down" not in _title(pid)} if master else set()

    def reload(self) -> None:
        """Asks for a reload. That it returns says nothing about the new workers."""
        if self._supervisorctl:
            _run([*self._supervisorctl, "signal", "HUP", "nginx"])
        else:
            _run(["systemctl", "daemon-reload"])
            _run(["systemctl", "reload", "nginx.service"])

    def start(self) -> None:
        """Starts it."""
        if self._supervisorctl:
            _run([*self._supervisorctl, "start", "nginx"])
        else:
            _run(["systemctl", "daemon-reload"])
            _run(["systemctl", "reset-failed", "nginx.service"], check=False)
            _run(["systemctl", "start", "nginx.service"])

    def restart_command(self) -> str:
        """What a person types on this host to restart it."""
        return " ".join(
            [*self._supervisorctl, "restart", "nginx"] if self._supervisorctl else ["systemctl restart nginx"]
        )

    def log(self) -> str:
        """The last lines nginx wrote where its supervisor reads them."""
        if self._supervisorctl:
            channels = ("stdout", "stderr")
            return "".join(
                _run([*self._supervisorctl, "tail", "-2000", "nginx", channel], check=False) for channel in channels
            )
        return _run(["journalctl", "-u", "nginx.service", "-n", "15", "-o", "cat", "--no-pager"], check=False)

    def _pid(self) -> int:
        if self._supervisorctl:
            text = _run([*self._supervisorctl, "pid", "nginx"], check=False)
        else:
            text = _run(["systemctl", "show", "--property=MainPID", "--value", "nginx.service"], check=False)
        if not text.strip().isdigit():
            raise Refused("it is not known whether nginx runs: %s" % (text.strip() or "its supervisor is silent"))
        return int(text)


class Swap:
    """Files replaced together, that can be put back together. None: no such file."""

    def __init__(self) -> None:
        self._before: Texts = {}

    def do(self, texts: Texts) -> None:
        """Writes what is wanted; may be called again."""
        for path in texts:
            self._before.setdefault(path, _read(path))
        _write_all(texts)

    def before(self, path: str) -> str:
        """What was there at first, of a file that this has replaced; "" for nothing."""
        return self._before.get(path) or ""

    def undo(self) -> None:
        """Puts back what was there at first."""
        _write_all(self._before)


def apply(folder: str, sockets: str, main: str, service: Service) -> str:
    """Makes the folder's configuration live; returns what was done in a word. Raises Refused, with all put back."""
    apps = routes(folder)
    refuse_clashes(apps)
    swap = Swap()
    try:
        os.makedirs(sockets, exist_ok=True)  # nginx may have been started before its unit knew of the folder
        swap.do(dict.fromkeys(_generated(folder, main)))
        before = [swap.before(os.path.join(folder, name)) for name in _LISTENERS]
        swap.do(servers(folder, apps, before[0]))
        swap.do(leaving(folder, apps, *before))
        swap.do(secure_listens(folder, apps, service.version()))
        text, remarks = _with_host_settings(folder, main, service, swap)
        if folder + "/" not in text:
            raise Refused(f"nginx does not read {folder}: its nginx.conf has no `include /etc/nginx/conf.d/*.conf;`")
        foreign_listens = listens(text, folder)
        refuse_foreign_listens(apps, foreign_listens, remarks)
        swap.do(not_found(folder, apps, foreign_listens))
        service.dump()
        swap.do(new_gates(apps, before[0]))
        done = _go_live(apps, service)
    except (Refused, OSError) as error:
        swap.undo()
        raise Refused(str(error)) from error
    _forget_gates(apps)
    return done


def _with_host_settings(folder: str, main: str, service: Service, swap: Swap) -> tuple[str, str]:
    """`dump` with the settings that are the whole host's, as far as it has none of its own: nginx takes each once."""
    already_set: set[str] = set()
    while True:
        swap.do(host_settings(folder, main if os.path.isdir(main) else "", service.version(), already_set))
        try:
            return service.dump()
        except Refused as error:
            twice = re.search(r'"([a-z_]+)" directive is duplicate', str(error))
            if twice is None or twice.group(1) in already_set:
                raise
            already_set.add(twice.group(1))


def _go_live(apps: list[App], service: Service) -> str:
    before = service.workers()
    listening = _listening(service)
    for app, place in places(apps):
        taken = [
            address
            for address, port in addresses(place)
            if not listening & {(address, port), ("::" if ":" in address else "0.0.0.0", port)}
            and _taken(address, port)
        ]
        if taken:
            key = "listen" if place is app else "listen_tls"
            raise Refused(
                f"{place['listen']} is taken on this host, by another program or by a `listen` of nginx's "
                f"own configuration for one address: free it, or choose another `balancer.{key}` for "
                f"{app['app']}"
            )
    if not before:
        service.start()
        _wait("nginx did not start", service, lambda: bool(service.workers()))
        return "started"
    _refuse_unreachable(apps, service)
    service.reload()
    _wait(
        "nginx refused the new configuration; the old one goes on serving",
        service,
        lambda: bool(service.workers()) and not service.workers() & before,
    )
    return "reloaded"


def _refuse_unreachable(apps: list[App], service: Service) -> None:
    """Refused when the file of a socket was removed at which nginx listens: a reload keeps what nobody can reach."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        bound_paths = {line.split()[-1] for line in file}
    paths = sorted({slot["socket"] for app in apps for slot in app["servers"].values()})
    gone = [path for path in paths if path in bound_paths and not os.path.exists(path)]
    if gone:
        raise Refused(
            f"nginx runs, and its socket {gone[0]} is gone, so no request reaches the instance behind it. "
            "nginx opens it only when "
            f"it starts: {service.restart_command()}"
        )


def new_gates(apps: list[App], before: str) -> Texts:
    """The gates of servers that are where none was, or that have the name of another one, by the servers `before`.

    Nobody knows what answers at a new place: a host that comes back may have its old release. So it is out of the
    pool until somebody admits it. Where all places of a pool are new, nobody else could serve meanwhile, so they are
    left open. A server that only has another name is as open as it was.
    """
    upstreams = dict(_UPSTREAM.findall(before))
    texts: Texts = {}
    for app in apps:
        named = app["pool"] + "."
        previous_servers = {name[len(named) :]: body for name, body in upstreams.items() if name.startswith(named)}
        kept = _names_before(app, previous_servers)
        for name in app["servers"] if kept else ():
            path = os.path.join(app["gates"], name)
            if name not in kept:
                texts[path] = _read(path) if name not in previous_servers and os.path.exists(path) else "maint\n"
            elif kept[name] != name:
                texts[path] = _read(os.path.join(app["gates"], kept[name]))
    return texts


def _names_before(app: App, previous_servers: dict[str, str]) -> dict[str, str]:
    """Name → the name before of the server that is where that one was; its own name comes first.

    `previous_servers`: who was.
    """
    free, previous_names = dict(previous_servers), {}
    current_servers = {name: _places(slot) for name, slot in app["servers"].items()}
    for name, slot in app["servers"].items():
        if name in free and (free[name] == current_servers[name] or not _literal(slot["address"])):
            previous_names[name] = name
            del free[name]
    for name, body in current_servers.items():
        other = next((candidate for candidate in free if name not in previous_names and free[candidate] == body), None)
        if other is not None:
            previous_names[name] = other
            del free[other]
    return previous_names


def _literal(address: str) -> bool:
    """Whether it is an address, or a socket's folder. A name may stand for other addresses than it did."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return address.startswith("/")
    return True


def _forget_gates(apps: list[App]) -> None:
    """Removes the gates of servers that are in no pool any more: one that comes back is not held by what is past."""
    for app in apps:
        for name in os.listdir(app["gates"]) if os.path.isdir(app["gates"]) else []:
            if name not in app["servers"] and not name.startswith("."):
                os.unlink(os.path.join(app["gates"], name))


def routes(folder: str) -> list[App]:
    """What every app wants, in the order of their names.

    `{app, pool, listen, address, port, frontend, domains, gates, secure, servers: {name: {address, port, socket}}}`.
    """
    apps = []
    where = os.path.join(folder, "routes")
    for name in sorted(os.listdir(where) if os.path.isdir(where) else []):
        if name.endswith(".json"):
            with open(os.path.join(where, name), encoding="utf-8") as file:
                apps.append(json.load(file))
    return apps


def places(apps: list[App]) -> list[tuple[App, App]]:
    """Every app with where it is served, `{listen, address, port, frontend}`: plain, and with TLS where it has that."""
    return [(app, place) for app in apps for place in (app, app.get("secure")) if place]


def addresses(place: App) -> list[tuple[str, int]]:
    """Where nginx listens for a place. `[::]:80` stands for IPv4 too, which takes a second `listen`."""
    port = int(place["port"])
    return [("::", port), ("0.0.0.0", port)] if place["address"] == "::" else [(place["address"], port)]


def _listen(address: str, port: int) -> str:
    """An address as `listen` takes it."""
    if address == "0.0.0.0":
        return str(port)
    return ("[%s]:%d" if ":" in address else "%s:%d") % (address, port)


def refuse_clashes(apps: list[App]) -> None:
    """Refused when two apps want the same name, the whole of one address, or one address with TLS and without."""
    owners: dict[tuple[tuple[str, int], str], App] = {}
    secure: dict[str, bool] = {}
    for app, place in places(apps):
        if secure.setdefault(place["frontend"], place is not app) != (place is not app):
            raise Refused(f"{place['listen']} is to speak TLS for one app and plain HTTP for another")
        claims = [(at, name) for name in app["domains"] or [ANY_HOST] for at in addresses(place)]
        for at, name in claims:
            other = owners.setdefault((at, name), app)
            if other is app:
                continue
            app_names = f"{other['app']} and {app['app']}"
            if name == ANY_HOST:
                raise Refused(
                    f"{app_names} both want every request at {place['listen']}: give one of them `domains`, or "
                    "its own `balancer.listen` (`deploy_listen`, where the inventory sets that)"
                )
            raise Refused(f"{app_names} both serve {name} at {place['listen']}: take it out of the `domains` of one")


class ForeignListen:
    """A `listen` of the host's own configuration: its file, its address (`0.0.0.0`: all), whether it is the default.

    `patterns`: the file has names that are regular expressions. Of several that match, nginx takes the first it read.
    """

    def __init__(self, file: str, words: list[str], patterns: bool) -> None:
        self.file = file
        self.patterns = patterns
        address, _, port = words[0].rpartition(":")
        self.port = int(port) if port.isdigit() else 80
        self.address = (address if port.isdigit() else words[0]).strip("[]") or "0.0.0.0"
        if self.address == "*":
            self.address = "0.0.0.0"
        self.default = "default_server" in words or "default" in words

    def meets(self, place: App) -> bool:
        """Whether it is the very address of that app."""
        return (self.address, self.port) in addresses(place)


def listens(text: str, folder: str) -> list[ForeignListen]:
    """The host's own `listen` lines in what `nginx -T` wrote, without those of our folder."""
    foreign_listens = []
    for part in re.split(r"^# configuration file ", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        file = head.rstrip(":")
        if file.startswith(folder + "/"):
            continue
        plain = re.sub(r"#.*", "", body)
        patterns = bool(re.search(r"\bserver_name\s[^;]*~", plain))
        for words in re.findall(r"\blisten\s+([^;]+);", plain):
            if not words.startswith("unix:"):
                foreign_listens.append(ForeignListen(file, words.split(), patterns))
    return foreign_listens


def refuse_foreign_listens(apps: list[App], foreign_listens: list[ForeignListen], remarks: str) -> None:
    """Refused when the host's own configuration serves a name of ours, or all that an app without names would get."""
    clashes = re.findall(r'conflicting server name "([^"]*)" on (\S+), ignored', remarks)
    for name, where in clashes:
        for app in apps:
            if name in app["domains"]:
                raise Refused(
                    f"the host's own configuration of nginx serves {name} at {where}, and so does "
                    f"{app['app']}: take it out of one of them"
                )
    for app in apps:
        for listen in foreign_listens if not app["domains"] else ():
            if listen.meets(app) and (listen.patterns or (listen.default and not _placeholder(listen.file))):
                what = "names that are regular expressions" if listen.patterns else "its own default_server"
                raise Refused(
                    f"{app['app']} wants every request at {app['listen']}, and {listen.file} has {what} "
                    "there: give the app `domains`, or another `balancer.listen` (or `deploy_listen`)"
                )


def not_found(folder: str, apps: list[App], foreign_listens: list[ForeignListen]) -> Texts:
    """The servers of what no app serves. None where the host's own configuration listens: it may want just that."""
    texts: Texts = {}
    own = {(place["address"], int(place["port"])): place["frontend"] for _, place in places(apps)}
    for app, place in places(apps):
        if not any(listen.meets(place) for listen in foreign_listens):
            text, words = (_NOT_FOUND, "") if place is app else (_NO_HANDSHAKE, " default_server ssl")
            path = os.path.join(folder, f"90-{place['frontend']}.conf")
            # Another place may have one of the addresses for itself.
            own_addresses = [at for at in addresses(place) if own.get(at, place["frontend"]) == place["frontend"]]
            lines = [f"    listen {_listen(*at)}{words};\n" for at in own_addresses]
            texts[path] = text.format(listen=place["listen"], listens="".join(lines))
    return texts


def secure_listens(folder: str, apps: list[App], version: tuple[int, ...]) -> Texts:
    """A file an address of TLS, for that version; Refused for one that could not keep certificates apart."""
    texts: Texts = {}
    for app in apps:
        if not app.get("secure"):
            continue
        if version < _SSL_REJECT_HANDSHAKE:
            oldest = ".".join(map(str, _SSL_REJECT_HANDSHAKE))
            raise Refused(f"tls for {app['app']} needs nginx {oldest} or later")
        directive = version >= _HTTP2_DIRECTIVE
        words = "ssl" if directive else "ssl http2"
        lines = [f"listen {_listen(*at)} {words};\n" for at in addresses(app["secure"])]
        text = "".join([*lines, "http2 on;\n" if directive else ""])
        texts[os.path.join(folder, f"listen-{app['secure']['frontend']}.inc")] = text
    return texts


def servers(folder: str, apps: list[App], before: str) -> Texts:
    """An upstream a server, and one for two open slots of an instance.

    A server whose name leads nowhere now keeps the addresses that it had `before`.
    """
    known = dict(_UPSTREAM.findall(before))
    lines = ["# Made by nginx_reload.py from routes/*.json.\n"]
    for app in apps:
        sockets = sorted({slot["socket"] for slot in app["servers"].values()})
        lines += ["# listener {} {}\n".format(path, app["pool"]) for path in sockets]
        first: dict[str, str] = {}
        texts = {}
        for name, slot in app["servers"].items():
            texts[name] = _places(slot) or known.get(f"{app['pool']}.{name}") or "    server 127.0.0.1:1 down;\n"
            lines.append("upstream {}.{} {{\n{}}}\n".format(app["pool"], name, texts[name]))
            other = first.setdefault(slot["socket"], name)
            if other != name:
                backup = texts[name].replace(";\n", " backup;\n")
                lines.append("upstream {}.{}.or.{} {{\n{}{}}}\n".format(app["pool"], other, name, texts[other], backup))
    return {os.path.join(folder, "20-servers.conf"): "".join(lines)}


def leaving(folder: str, apps: list[App], servers_before: str, leaving_before: str) -> Texts:
    """Listeners that were there before and that no pool has now, each leading to what its pool has now.

    A reload takes a listener's socket away at once, while workers of before still have it in their pools: a user's
    connection that is in use brings them one request more.
    """
    now = int(time.time())
    used = {slot["socket"] for app in apps for slot in app["servers"].values()}
    recorded = re.findall(r"^# left (\S+) (\S+) (\d+)$", leaving_before, re.MULTILINE)
    left = {path: (pool, min(int(since), now)) for path, pool, since in recorded}  # the clock may have been set back
    for path, pool in re.findall(r"^# listener (\S+) (\S+)$", servers_before, re.MULTILINE):
        left[path] = (pool, now)
    pools = {app["pool"] for app in apps}
    texts = [
        _LEAVING.format(socket=path, pool=pool, since=since)
        for path, (pool, since) in sorted(left.items())
        if path not in used and pool in pools and now < since + _LEAVES
    ]
    return {os.path.join(folder, _LISTENERS[1]): "# Made by nginx_reload.py.\n" + "".join(texts)} if texts else {}


def _places(slot: dict[str, Any]) -> str:
    if slot["address"].startswith("/"):  # a folder with a UNIX socket a slot: agent.places
        return "    server unix:%s/%d.sock max_fails=0;\n" % (slot["address"], slot["port"])
    hosts = [f"[{host}]" if ":" in host else host for host in _addresses(slot["address"])]
    return "".join("    server %s:%d max_fails=0;\n" % (host, slot["port"]) for host in hosts)


def _addresses(host: str) -> list[str]:
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    addresses = {str(answer[4][0]) for answer in answers}
    return sorted(address for address in addresses if "%" not in address)  # nginx takes no zone


def host_settings(folder: str, main: str, version: tuple[int, ...], already_set: set[str]) -> Texts:
    """The files with what is set once a host, without what it has `already_set` itself. `main` "": no such folder."""
    http = {"server_names_hash_bucket_size": "512"}  # the usual 64 is too little for a name of 50 characters
    if version >= _KEEPALIVE_MIN_TIMEOUT:
        http["keepalive_min_timeout"] = "15s"  # a reload leaves idle clients time for one more request
    files = {os.path.join(folder, "10-host.conf"): http}
    if main:
        files[os.path.join(main, "99-deploy.conf")] = {"worker_shutdown_timeout": "30m"}
    texts: Texts = {}
    for path, settings in files.items():
        lines = ["{} {};\n".format(*setting) for setting in settings.items() if setting[0] not in already_set]
        texts[path] = "# Made by nginx_reload.py.\n" + "".join(lines)
    return texts


def _placeholder(path: str) -> bool:
    """Whether this is the page that Debian's package puts there, as the package has it: nobody's site."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.md5(file.read()).hexdigest()  # noqa: S324 - it is dpkg that uses it
    except OSError:
        return False
    known = _run(["dpkg-query", "-W", "-f", "${Conffiles}\\n", "nginx-common", "nginx"], check=False)
    return f"{os.path.realpath(path)} {digest}" in known


def _generated(folder: str, main: str) -> list[str]:
    names = [name for name in sorted(os.listdir(folder)) if name.startswith(("90-deploy-", "listen-deploy-"))]
    paths = [os.path.join(folder, name) for name in ("10-host.conf", *_LISTENERS, *names)]
    return [*paths, os.path.join(main, "99-deploy.conf")] if main else paths


def _listening(service: Service) -> set[tuple[str, int]]:
    """Where the nginx that runs listens with IPv4 or IPv6, by what its processes hold."""
    inodes = set()
    for pid in service.workers():
        with contextlib.suppress(OSError):
            for name in os.listdir("/proc/%d/fd" % pid):
                with contextlib.suppress(OSError):
                    inodes.add(os.readlink("/proc/%d/fd/%s" % (pid, name)))
    endpoints = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError), open("/proc/net/" + table, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    address, _, port = fields[1].rpartition(":")
                    endpoints.add((_decoded(address, family), int(port, 16)))
    return endpoints


def _decoded(text: str, family: int) -> str:
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return socket.inet_ntop(family, raw)


def _taken(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address, port))
        except OSError as error:  # what else is wrong with an address, nginx says itself
            return error.errno == errno.EADDRINUSE
    return False


def _wait(failure: str, service: Service, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_RELOAD
    while not done():
        if time.monotonic() > deadline:
            raise Refused(f"{failure}; its last lines:\n{service.log().rstrip()}")
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _title(pid: int) -> bytes:
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read()
    except OSError:
        return b"shutting down"


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, text: str) -> None:
    """Replaces a file as a whole, on the disk when this returns: a reader sees the old text or the new one."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = "%s/.%s.%d.new" % (folder, os.path.basename(path), os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(texts: Texts) -> None:
    for path, text in texts.items():
        if text is not None:
            _write(path, text)
        elif os.path.exists(path):
            os.unlink(path)


def _run(command: list[str], check: bool = True) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise Refused("`%s` ended with status %d:\n%s" % (" ".join(command), done.returncode, output))
    return done.stdout + done.stderr if not check else done.stdout


def main(argv: list[str]) -> int:
    """Runs `apply`; 0 when done, 1 when refused (why is on stderr)."""
    parser = argparse.ArgumentParser(prog="nginx_reload")
    parser.add_argument("verb", choices=("apply",))
    parser.add_argument("--folder", required=True)
    parser.add_argument("--sockets", required=True)
    parser.add_argument("--main", default="")
    parser.add_argument("--nginx", default=["nginx"], type=json.loads, help="a JSON list of words")
    parser.add_argument("--supervisorctl", default=[], type=json.loads, help="a JSON list of words")
    args = parser.parse_args(argv)
    try:
        print(apply(args.folder, args.sockets, args.main, Service(args.nginx, args.supervisorctl)))
    except (Refused, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
