"""HAProxy as the balancer's operations use it: one backend's servers, read and moved over the stats socket.

The commands and the columns are those of HAProxy's management guide, section 9.3: `show servers state` (format 1),
`show stat` and `set server`. `drain` is used and never `maint`, which would stop the health checks too.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterable
from typing import Any

from deployer.agent.balancer.driver import Request, Server
from deployer.agent.balancer.haproxy import requests as haproxy_requests
from deployer.agent.balancer.haproxy import workers
from deployer.agent.balancer.haproxy.reload_tool import CLOSED, ask, configured, dump, routes, write
from deployer.agent.balancer.haproxy.reload_tool import closed as closed_map
from deployer.agent.model.endpoints import parts, place
from deployer.agent.operation import OpError

_PATIENCE = 2.0  # seconds that HAProxy may be away: a restart takes less
_COLUMNS = {"srv_name", "srv_addr", "srv_port", "srv_admin_state"}
_DRAINED = 0x08 | 0x10  # SRV_ADMF_FDRAIN, SRV_ADMF_IDRAIN of HAProxy's `srv_admin_state`
_STOPPED = 0x01 | 0x02 | 0x20  # forced, inherited, or without an address


class HAProxy:
    """The driver `{"kind": "haproxy", "socket", "backend", "state_file", "folder", "addresses"}`.

    `addresses` (name → `ADDRESS:PORT`) is only there for a backend that somebody else configures: its servers are then
    known by where they are, not by our names. Such a backend has no `state_file`, no `folder`
    and no record of requests.
    """

    def __init__(self, driver: dict[str, Any]) -> None:
        self._socket = str(driver["socket"])
        self._backend = str(driver["backend"])
        self._folder = str(driver.get("folder") or "")
        self._state_file = str(driver.get("state_file") or "")
        self._names_by_place = {str(place): str(name) for name, place in (driver.get("addresses") or {}).items()}

    def servers(self) -> dict[str, Server]:
        """All servers of the backend by our names; OpError `balancer_down` when HAProxy does not answer."""
        states = self._ask("show servers state " + self._backend)
        if not states.startswith("1\n"):
            raise self._down(f"it has no backend {self._backend} ({states.strip()[:100]})")
        stats = {row["svname"]: row for row in self._table(f"show stat {self._backend} 4 -1")}
        older = workers.connections(self._socket)
        written = self.configured()
        servers = {}
        for row in _rows(states):
            at = _place(row)
            stat = stats.get(row["srv_name"], {})
            name = self._names_by_place.get(at, "") if self._names_by_place else row["srv_name"]
            if name:
                # What runs has addresses in place of names.
                address, port = parts(written.get(name, at))
                servers[name] = Server(
                    name=name,
                    address=address,
                    port=port,
                    admin=_admin(int(row["srv_admin_state"])),
                    status=stat.get("status", ""),
                    check=stat.get("check_status", "").replace("* ", ""),  # a star: a check is under way
                    sessions=int(stat.get("scur") or 0) + older.get(at, 0),
                )
        return servers

    def configured(self) -> dict[str, str]:
        """As `Driver.configured`: the servers of the backend's own file."""
        return configured(self._folder, self._backend) if self._folder else {}

    def set(self, names: list[str], admin: str) -> None:
        """Makes servers `ready`, `drain` or `maint`; OpError `balancer_down` or `unknown_server`."""
        for name in names:
            answer = self._ask(f"set server {self._backend}/{self._resolve_server_name(name)} state {admin}").strip()
            if answer.startswith("No such"):
                raise OpError("unknown_server", f"the balancer's backend {self._backend} has no server {name}")
            if answer:
                raise self._down(f"it did not make {name} {admin}: {answer[:200]}")

    def keep(self) -> None:
        """Writes the state for HAProxy's next process, whoever starts it; nothing where the backend is not ours."""
        if self._state_file:
            try:
                dump(self._socket, self._backend, self._state_file)
            except OSError as error:
                raise self._down(str(error)) from error

    def requests(self, last: float, ahead: float) -> Iterable[Request]:
        """The requests that ended within the `last` seconds and are still in a frontend's ring; these always fill."""
        rings = [] if self._names_by_place else haproxy_requests.rings(self._ask("show events"))
        if not rings:
            raise OpError(
                "no_figures",
                f"HAProxy keeps no record of the requests to {self._backend}",
                "deploy setup {env} writes what it takes, where the pool is ours to write",
            )
        texts = [self._ask("show events " + ring) for ring in rings]
        return haproxy_requests.requests("\n".join(texts), self._backend, last)

    def close(self, closed: bool) -> None:
        """A line of a map, in the running HAProxy and in the file that its next process reads."""
        if not self._folder:
            raise OpError(
                "unmanaged", "deploy does not configure this HAProxy, so it has no maintenance page of deploy"
            )
        path = os.path.join(self._folder, CLOSED)
        write(path, closed_map(routes(self._folder)))
        is_closed = self._lists(self._ask("show map " + path))
        if closed and not is_closed:
            self._ask(f"add map {path} {self._backend} closed")
        elif is_closed and not closed:
            self._ask(f"del map {path} {self._backend}")
        listing = self._ask("show map " + path)
        if closed != self._lists(listing):
            raise self._down(f"it did not take the word for maintenance: {listing.strip()[:200]}")

    def _lists(self, shown: str) -> bool:
        """Whether a map, as `show map` has it, has a line of our backend."""
        return any(line.split(" ")[1:2] == [self._backend] for line in shown.split("\n"))

    def _resolve_server_name(self, name: str) -> str:
        if not self._names_by_place:
            return name
        for row in _rows(self._ask("show servers state " + self._backend)):
            if self._names_by_place.get(_place(row)) == name:
                return row["srv_name"]
        return name

    def _table(self, command: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self._ask(command).lstrip("# "))))

    def _ask(self, command: str) -> str:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return ask(self._socket, command)
            except OSError as error:
                if time.monotonic() >= end:
                    why = f"its stats socket {self._socket}: {error.strerror or error}"
                    raise self._down(why) from error
            time.sleep(0.1)

    def _down(self, why: str) -> OpError:
        mends = "deploy setup {env} installs its configuration, starts it and opens its socket again"
        if not self._folder:
            mends = "its own configuration says where its stats socket is, and which backends it has"
        return OpError(
            "balancer_down",
            "HAProxy cannot be asked: " + why,
            "on that host: systemctl status haproxy; " + mends,
        )


def _place(row: dict[str, str]) -> str:
    """Where a server is, by a line of `show servers state`."""
    return place(row["srv_addr"], int(row["srv_port"]))


def _rows(text: str) -> list[dict[str, str]]:
    """The lines of `show servers state` as maps. Raises ValueError where it lacks the columns that we read."""
    lines = [line for line in text.split("\n")[1:] if line.strip()]
    names = lines[0].lstrip("# ").split(" ") if lines else []
    if not set(names) >= _COLUMNS:
        raise ValueError(f"`show servers state` has no columns {', '.join(sorted(_COLUMNS - set(names)))}")
    return [dict(zip(names, line.split(" "))) for line in lines[1:]]


def _admin(bits: int) -> str:
    if bits & _STOPPED:
        return "maint"
    return "drain" if bits & _DRAINED else "ready"
