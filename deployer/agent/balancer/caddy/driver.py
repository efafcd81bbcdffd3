"""Caddy as the balancer's operations use it: one pool's slots, each a file that says where its requests go.

How draining and reloading work is told in `reload_tool`. What is in flight comes from `GET /reverse_proxy/upstreams`,
which counts by real address, over all configurations that still finish something. Whether a slot is healthy Caddy tells
nowhere in time (its metric is 10 s late): the ask socket has, for every slot, a twin of the pool's health checks that
lets a question through to the app only while it is healthy.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterable
from typing import Any

from deployer.agent.balancer.caddy import requests as caddy_requests
from deployer.agent.balancer.caddy.reload_tool import (
    Places,
    Refused,
    UnixConnection,
    admin,
    age_of_slot,
    program,
    read,
    slot_admin,
    slot_text,
    write,
    write_slot,
)
from deployer.agent.balancer.driver import Request, Server
from deployer.agent.model.endpoints import parts
from deployer.agent.model.layout import OnSite, Site
from deployer.agent.model.messages import dependencies as wire
from deployer.agent.operation import Context, OpError, operation

_PATIENCE = 2.0  # seconds that Caddy may be away: a restart takes less
_FRESH = 0.5  # seconds for which a good answer about a slot is believed: a drain looks 20 times a second
_ASKED = 8.0  # seconds until a question about a slot is given up
_PASSED = "L7OK"
_UNIX = "unix/"  # before a path in what Caddy dials
CLOSED = ".maintenance"  # beside the slots, whose names begin otherwise


class Caddy:
    """The driver `{"kind": "caddy", "socket", "ask", "app", "slots", "requests"}`.

    `socket` and `ask` are Caddy's admin socket and ours beside it; `app` is the file that setup wrote for this pool,
    `slots` the folder of its slots' files, `requests` Caddy's log of what came of requests.
    """

    def __init__(self, driver: dict[str, Any]) -> None:
        self._socket = str(driver["socket"])
        self._ask = str(driver["ask"])
        self._app = str(driver["app"])
        self._slots = str(driver["slots"])
        self._requests = str(driver["requests"])
        self._passed: dict[str, float] = {}

    def servers(self) -> dict[str, Server]:
        """All slots that Caddy has; OpError `balancer_down` when it does not answer."""
        app = json.loads(read(self._app) or "{}")
        upstreams = {upstream["address"]: upstream for upstream in self._upstreams()}
        servers = {}
        for name, place in app.get("slots", {}).items():
            known = upstreams.get(f"{{file.{self._path(name)}}}")
            if known is None:  # it was written, and Caddy was not told yet
                continue
            address, port = parts(place.removeprefix(_UNIX))
            requested_admin = slot_admin(read(self._path(name)))
            status, check = "", ""
            if requested_admin == "ready":
                status, check = self._health(app, name, int(known["fails"]))
            servers[name] = Server(
                name=name,
                address=address,
                port=port,
                admin=requested_admin,
                status=status,
                check=check,
                sessions=int(upstreams.get(place, {}).get("num_requests", 0)),
            )
        return servers

    def configured(self) -> dict[str, str]:
        """As `Driver.configured`: the slots of the app's file."""
        slots: dict[str, str] = json.loads(read(self._app) or "{}").get("slots", {})
        return {name: at.removeprefix(_UNIX) for name, at in slots.items()}

    def set(self, names: list[str], admin: str) -> None:
        """Makes slots `ready`, `drain` or `maint`, from the next request on; OpError `unknown_server`."""
        slots = json.loads(read(self._app) or "{}").get("slots", {})
        for name in names:
            if name not in slots:
                raise OpError("unknown_server", f"the balancer's pool in {self._app} has no server {name}")
            self._passed.pop(name, None)
            try:
                write_slot(self._path(name), slot_text(slots[name], admin))
            except OSError as error:
                raise self._down(f"{error.filename} cannot be written: {error.strerror}") from error

    def keep(self) -> None:
        """Nothing: the files are on the disk."""

    def requests(self, last: float, ahead: float) -> Iterable[Request]:
        """The requests that ended within the `last` seconds and are still in the log; it is always being written."""
        slots = json.loads(read(self._app) or "{}").get("slots", {})
        try:
            # In the log a UNIX socket is its path alone.
            names = {place.removeprefix(_UNIX): name for name, place in slots.items()}
            return caddy_requests.requests(self._requests, names, last)
        except OSError as error:
            why = f"Caddy keeps no record of requests: {error.filename}: {error.strerror}"
            raise OpError("no_figures", why, "deploy setup {env} writes what it takes") from error

    def close(self, closed: bool) -> None:
        """A file that Caddy looks for at every request."""
        path = self._path(CLOSED)
        if closed:
            write(path, "closed\n")
        elif os.path.exists(path):
            os.unlink(path)

    def _path(self, name: str) -> str:
        return self._slots + "/" + name

    def _health(self, app: dict[str, Any], name: str, fails: int) -> tuple[str, str]:
        """What Caddy thinks of a slot that is to serve: the words of `Server.status` and `Server.check`."""
        if fails >= app["most_fails"]:
            return "DOWN", "requests to it failed just now"
        age = age_of_slot(self._path(name))
        if age is not None and age < app["settled"]:
            return "DOWN", "not checked yet"  # the pool's own checks come at most one interval after the twin's
        if time.monotonic() - self._passed.get(name, -_FRESH) < _FRESH:
            return "UP", _PASSED
        why = self._question(app["pool"] + "/" + name)
        if why:
            return "DOWN", why
        self._passed[name] = time.monotonic()
        return "UP", _PASSED

    def _question(self, slot: str) -> str:
        """Why a slot does not serve; empty when it does."""
        connection = UnixConnection(self._ask, _ASKED)
        try:
            connection.request("GET", "/", headers={"X-Deploy-Slot": slot})
            answer = connection.getresponse()
            answered = answer.getheader("X-Deploy-Answered")
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {error}"
        finally:
            connection.close()
        if answer.status == 204:
            return ""
        if answered:
            return "it answers " + answered
        return "its health check fails" if answer.status == 503 else "it cannot be connected to"

    def _upstreams(self) -> list[dict[str, Any]]:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                status, text = admin(self._socket, "GET", "/reverse_proxy/upstreams")
                if status != 200:
                    raise OSError("it says %d" % status)
                upstreams: list[dict[str, Any]] = json.loads(text)
                return upstreams
            except (OSError, ValueError) as error:
                if time.monotonic() >= end:
                    why = getattr(error, "strerror", None) or error
                    raise self._down(f"its admin socket {self._socket}: {why}") from error
            time.sleep(0.1)

    def _down(self, why: str) -> OpError:
        return OpError(
            "balancer_down",
            "Caddy cannot be asked: " + why,
            "on that host: systemctl status deploy-caddy; deploy setup {env} starts it, or says what does",
        )


@operation(wire.FIND_CADDY)
def find_program(ctx: Context, request: OnSite) -> wire.CaddyFound:
    """Finds a Caddy on this host that is new enough: its own, or one that was given."""
    site = Site.of(request)
    try:
        return {"path": program(Places(site.prefix)), "why": ""}
    except (Refused, OSError) as error:
        return {"path": None, "why": str(error)}
