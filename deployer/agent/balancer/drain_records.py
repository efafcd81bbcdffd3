"""The record of what is held out of the balancer: by whom, why, since when. One file a site, on each balancer host.

    {"web1-8000": {"by": "run" | "person" | "quarantine" | "spare", "run", "who", "reason", "since", "at"}}

`at` is where the server is (`endpoints.place`). A record belongs to that place: when a changed pool gives the place
another name, or the name another place, the record goes with the place (`follow`).

`spare` are slots that no instance serves in: a successor that starts there gets no request before it is admitted, also
when the balancer is restarted meanwhile.

A record is on the disk before its server is drained and goes only after the server was made ready again, so that
whatever dies in between, somebody still knows. An agent, a watchdog and another run's agent may act at once: whoever
changes a record, and the balancer with it, does so under the short lock that `editing` holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError
from deployer.agent.system import files

_LONGEST = 300.0  # seconds; a block asks the balancer, by commands of the user's where need be
_AGAIN = 0.02  # seconds between two tries for the lock

if TYPE_CHECKING:
    from deployer.agent.balancer.driver import Server
    from deployer.agent.model.messages.balancer import HeldRecord

    Record = HeldRecord
    Records = dict[str, Record]


def record(by: str, run: str, who: str, reason: str) -> Record:
    """A new record, from now on. `since` is seconds since the epoch."""
    return {"by": by, "run": run, "who": who, "reason": reason, "since": round(time.time(), 3)}


def follow(records: Records, servers: dict[str, Server]) -> None:
    """Gives each record to the server that is where the record's server was; forgets it when no server is there.

    `servers` are all of the pool now. A record without a place stays with its name; so does that of a slot which is
    still not in use at another place.
    """
    places = {server.at: name for name, server in reversed(list(servers.items()))}
    stay: Records = {}
    moved: Records = {}
    for name, entry in records.items():
        server, at = servers.get(name), entry.get("at")
        if at is None or (server and server.at == at):
            stay[name] = entry
        elif at in places:
            moved[places[at]] = entry
        elif server and entry["by"] == "spare" and server.admin == "maint":
            stay[name] = {**entry, "at": server.at}
    records.clear()
    records.update({**moved, **stay})


def read(site: Site) -> Records:
    """What is held out now; empty when nothing ever was."""
    try:
        with open(site.drained, encoding="utf-8") as file:
            records: Records = json.load(file)
    except FileNotFoundError:
        return {}
    return records


def admin_of(record: Record) -> str:
    """The state that keeps a held server out: `maint` for a spare slot, where health checks would find nothing."""
    return "maint" if record["by"] == "spare" else "drain"


def of_run(records: Records, run: str) -> Records:
    """Those that this run itself drained: never a person's, never a quarantine."""
    return {name: entry for name, entry in records.items() if entry["by"] == "run" and entry["run"] == run}


@contextlib.contextmanager
def editing(site: Site) -> Iterator[Records]:
    """The records, alone: what the block leaves in them is on the disk when it ends, also when it raises.

    The lock is short: the block asks the balancer, and waits for nothing else. `save` makes a record durable within it.
    """
    os.makedirs(site.state, exist_ok=True)
    fd = os.open(site.state + "/drained.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(fd, site)
        records = read(site)
        before = json.dumps(records)
        try:
            yield records
        finally:
            if json.dumps(records) != before:
                save(site, records)
    finally:
        os.close(fd)


def _lock(fd: int, site: Site) -> None:
    """Takes the lock; OpError `host_busy` where somebody holds it for longer than any block of ours takes."""
    end = time.monotonic() + _LONGEST
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise OpError(
                    "host_busy",
                    f"another process has held {site.state}/drained.lock for more than {_LONGEST:g} s",
                    "look on that host who has it open (lslocks), then type deploy {command} {env}",
                ) from None
        time.sleep(_AGAIN)


def save(site: Site, records: Records) -> None:
    """Writes the records and returns when they are on the disk. Only within `editing`."""
    files.write(site.drained, (json.dumps(records, indent=1, sort_keys=True) + "\n").encode("utf-8"), 0o644)
