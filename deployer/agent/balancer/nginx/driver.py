"""nginx as the balancer's operations use it: a gate is a file that nginx looks for at every request.

`<gates>/<server>` holds `drain` or `maint`: that server gets no requests. So what was asked for outlives everything
that nginx does, and a reboot. Of two open slots of one instance the first gets the requests, and the other one those
that find nobody there.

nginx has no health checks of its own: whether a server that may get requests can answer them is asked here, through
nginx's own listener, which is what a user's request would meet. Requests in flight are connections that nginx holds to
the server, since it keeps no idle ones.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from deployer.agent.balancer.driver import Request, Server
from deployer.agent.balancer.nginx import requests as nginx_requests
from deployer.agent.balancer.nginx.health_checks import Checks
from deployer.agent.model.endpoints import place, socket_of
from deployer.agent.model.supervision import Health
from deployer.agent.operation import OpError
from deployer.agent.system import files, procfs, tcp_connections

_PATIENCE = 2.0  # seconds that nginx may be away: a restart takes less
_SLOT = "X-Deploy-Slot"
CLOSED = ".maintenance"  # beside the gates of servers, whose names begin otherwise


class Nginx:
    """The driver `{"kind": "nginx", "route", "gates", "requests", "health"}`; `route` is the file that setup wrote."""

    def __init__(self, driver: dict[str, Any]) -> None:
        self._route = str(driver["route"])
        self._gates = str(driver["gates"])
        self._requests = str(driver["requests"])
        self._health = Health(**driver["health"])
        self._checks = Checks()
        self._known: dict[str, list[str]] = {}

    def servers(self) -> dict[str, Server]:
        """All servers of the pool by our names; OpError `balancer_down` when nginx does not listen for them."""
        slots = self._slots()
        held = self._held(sorted({slot["socket"] for slot in slots.values()}))
        admin_states = {name: self._admin(name) for name in slots}
        checks = {
            name: (str(slots[name]["socket"]), replace(self._health, headers={**self._health.headers, _SLOT: name}))
            for name, admin in admin_states.items()
            if admin == "ready"
        }
        answers = self._checks.look(checks)
        servers = {}
        for name, slot in slots.items():
            answer = answers.get(name)
            servers[name] = Server(
                name=name,
                address=str(slot["address"]),
                port=int(slot["port"]),
                admin=admin_states[name],
                status="" if answer is None else "UP" if answer.ok else "DOWN",
                check="" if answer is None else "L7OK" if answer.ok else answer.why,
                sessions=self._sessions(slot, held),
            )
        return servers

    def configured(self) -> dict[str, str]:
        """As `Driver.configured`: the slots of the app's route."""
        if not os.path.exists(self._route):
            return {}
        return {name: place(slot["address"], int(slot["port"])) for name, slot in self._slots().items()}

    def set(self, names: list[str], admin: str) -> None:
        """Makes servers `ready`, `drain` or `maint`, from the next request on; OpError `unknown_server`."""
        slots = self._slots()
        for name in names:
            if name not in slots:
                raise OpError("unknown_server", f"the pool {self._route} of nginx has no server {name}")
        for name in names:
            if admin == "ready":
                files.remove(self._gate(name))
            else:
                files.write(self._gate(name), (admin + "\n").encode("utf-8"), 0o644)

    def keep(self) -> None:
        """Makes sure that the gates are on the disk."""
        files.fsync_folder(self._gates)

    def requests(self, last: float, ahead: float) -> Iterable[Request]:
        """The requests that ended within the `last` seconds, since somebody first asked for them."""
        names = {}
        for name, slot in self._slots().items():
            path = socket_of(slot["address"], slot["port"])
            if path:
                names["unix:" + path] = name
                continue
            for address in self._addresses(str(slot["address"])):
                names[place(address, slot["port"])] = name
        try:
            nginx_requests.ask(self._requests, os.path.basename(self._gates), ahead)
            return list(nginx_requests.requests(self._requests, names, last))
        except OSError as error:
            why = f"nginx keeps no record of requests: {error.filename}: {error.strerror}"
            raise OpError("no_figures", why, "deploy setup {env} writes what it takes") from error

    def close(self, closed: bool) -> None:
        """A gate before the whole pool."""
        if closed:
            files.write(self._gate(CLOSED), b"closed\n", 0o644)
        else:
            files.remove(self._gate(CLOSED))
        self.keep()

    def _slots(self) -> dict[str, dict[str, Any]]:
        try:
            with open(self._route, encoding="utf-8") as file:
                slots: dict[str, dict[str, Any]] = json.load(file)["servers"]
        except (OSError, ValueError) as error:
            raise _down(f"{self._route}: {error}") from error
        return slots

    def _gate(self, name: str) -> str:
        return self._gates + "/" + name

    def _admin(self, name: str) -> str:
        try:
            with open(self._gate(name), encoding="utf-8") as file:
                return "maint" if file.read().strip() == "maint" else "drain"
        except FileNotFoundError:
            return "ready"

    def _held(self, sockets: list[str]) -> dict[str, int]:
        """Connections by where they lead, of every worker of the nginx that listens at these sockets."""
        masters = {self._master(path) for path in sockets}
        return tcp_connections.held_by(pid for master in masters for pid in tcp_connections.children(master))

    def _sessions(self, slot: dict[str, Any], held: dict[str, int]) -> int:
        """Of a slot on a UNIX socket nobody tells whose its connections are, so all of them count."""
        path = socket_of(slot["address"], slot["port"])
        if path:
            return procfs.unix_connections_to(path)
        return sum(held.get(place(address, slot["port"]), 0) for address in self._addresses(str(slot["address"])))

    def _addresses(self, host: str) -> list[str]:
        """The addresses of a server, as the kernel writes them; looked up once."""
        if host not in self._known:
            self._known[host] = _addresses(host)
        return self._known[host]

    def _master(self, path: str) -> int:
        """The process that listens there; it lives through reloads."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                    client.settimeout(_PATIENCE)
                    client.connect(path)
                    peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                return int(struct.unpack("3i", peer)[0])
            except OSError as error:
                if time.monotonic() >= end:
                    raise _down(f"its listener {path}: {error.strerror or error}") from error
            time.sleep(0.1)


def _addresses(host: str) -> list[str]:
    """The addresses of a server, as the kernel writes them; the name itself where it has none now."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except OSError:
        return [host]


def _down(why: str) -> OpError:
    return OpError(
        "balancer_down",
        "nginx cannot be asked: " + why,
        "on that host: systemctl status nginx; deploy setup {env} starts it, or says what does",
    )
