"""The requests that Caddy passed on, read from the log that `reload_tool` has it write: one JSON object a line.

    {"ts": 1795551229.94, "status": 200, "at": "192.0.2.1:8000", "took": 26.1}

`at` is the address that was tried last, `took` the milliseconds to its answer's header, null where none came.
"""

from __future__ import annotations

import glob
import json
import time

from deployer.agent.balancer.driver import Request

_GIVEN_UP = (0, 499)  # by the user


def requests(log: str, names: dict[str, str], last: float) -> list[Request]:
    """Those that ended within the `last` seconds, to any of `names` (`ADDRESS:PORT` → slot). OSError without a log."""
    since = time.time() - last
    with open(log, encoding="utf-8") as file:
        lines = file.read().split("\n")
    for rolled in glob.glob(glob.escape(log[: -len(".log")]) + "-*.log"):
        with open(rolled, encoding="utf-8") as file:
            lines += file.read().split("\n")
    ended_requests = []
    for line in lines:
        try:
            entry = json.loads(line)
            name, status, took, at = names.get(entry["at"]), entry["status"], entry["took"], entry["ts"]
        except (ValueError, KeyError, TypeError):
            continue  # the last line, half written; or a request that went nowhere
        if name and at >= since and status not in _GIVEN_UP:
            ended_requests.append(Request(name, None if took is None else status, took))
    return ended_requests
