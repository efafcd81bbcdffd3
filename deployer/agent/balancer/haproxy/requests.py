"""The requests of one backend, read from the rings in which HAProxy keeps the last lines of our frontends' logs.

A ring (`show events`, HAProxy's management guide, section 9.3) lies in HAProxy's memory, has one size, and begins anew
with every worker: there is no file to bound, and no counter that a reload could reset. Its lines are those of
`option httplog` (configuration manual, section 8.2.3) behind the time of logging:

    2026-11-24T19:53:40.348037+00:00 192.0.2.9:35504 [24/Nov/2026:19:53:40.299] deploy-80 shop-prod/web1-8000
    0/0/0/48/48 200 500 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1"
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime

from deployer.agent.balancer.driver import Request

_LINE = re.compile(
    r"(?P<logged>\S+) \S+ \[[^\]]*\] \S+ (?P<backend>[^ /]+)/(?P<server>\S+) "
    r"-?\d+/-?\d+/-?\d+/(?P<took>-?\d+)/\+?-?\d+ (?P<status>-?\d+) \S+ \S+ \S+ (?P<ended>[^ ]{2})"
)
_RING = re.compile(r"^\s+(deploy-\S+)\s*: type=buffer", re.MULTILINE)
_SWITCHED = 101  # a websocket: how it ends says nothing about the server


def rings(text: str) -> list[str]:
    """The rings of our frontends, each of its name, in what `show events` lists."""
    return _RING.findall(text)


def requests(text: str, backend: str, last: float) -> Iterator[Request]:
    """Those to the backend's servers that ended within the `last` seconds."""
    since = time.time() - last
    for line in text.split("\n"):
        match = _LINE.match(line)
        if match and match["backend"] == backend and match["server"] != "<NOSRV>" and _at(match["logged"]) >= since:
            ended, status, took = match["ended"][0], int(match["status"]), int(match["took"])
            if ended in "Cc" and status != _SWITCHED:
                continue  # the user's own doing
            answered: int | None = None if ended in "Ss" and status != _SWITCHED else status
            yield Request(match["server"], answered, took if took >= 0 else None)


def _at(logged: str) -> float:
    try:
        return datetime.fromisoformat(logged).timestamp()
    except ValueError:
        return 0.0
