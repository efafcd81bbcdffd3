"""The requests of nginx's listeners, read from the log that they write while somebody asks for it.

    <folder>/log                 a line for each request: time|status|addresses|their statuses|seconds to their headers
    <folder>/<hundreds>/<pool>   that pool's run wants the requests of these hundred seconds of the clock

nginx looks at each request whether the folder of these hundred seconds is there. So nobody has to be alive to end the
logging, it costs one look at the disk at other times, and the log holds the minutes of one run: who asks while nobody
else does empties it first.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from deployer.agent.balancer.driver import Request

SLICE = 100  # seconds, as `map $msec $deploy_slice` has it
_MOST = 8 << 20  # bytes of the log that are read: its last 100,000 requests or so
_GIVEN_UP = "499"  # by the user


def ask(folder: str, pool: str, ahead: float) -> None:
    """Has the requests of the next `ahead` seconds logged; 0: no more for this pool."""
    now = int(time.time()) // SLICE
    if not os.path.isdir("%s/%d" % (folder, now)) and ahead:
        with open(folder + "/log", "a", encoding="ascii") as file:  # nginx appends, so it goes on at the beginning
            file.truncate(0)
    for name in os.listdir(folder):
        if name.isdigit() and (int(name) < now or not ahead):
            _forget(f"{folder}/{name}", pool, int(name) < now)
    for number in range(now, int(time.time() + ahead) // SLICE + 1) if ahead else ():
        os.makedirs("%s/%d" % (folder, number), exist_ok=True)
        with open("%s/%d/%s" % (folder, number, pool), "w", encoding="ascii"):
            pass


def _forget(where: str, pool: str, over: bool) -> None:
    for name in os.listdir(where) if over else [pool]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(where + "/" + name)
    with contextlib.suppress(OSError):  # another pool's run still wants it
        os.rmdir(where)


def requests(folder: str, names: dict[str, str], last: float) -> Iterator[Request]:
    """Those that ended within the `last` seconds, to any of `names` (`ADDRESS:PORT` → server)."""
    since = time.time() - last
    with open(folder + "/log", "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST))
        lines = file.read().decode("ascii", "replace").split("\n")
    for line in lines:
        fields = line.split("|")
        if len(fields) == 5 and fields[1] != _GIVEN_UP and _number(fields[0]) >= since:
            yield from _parse_attempts(fields, names)


def _parse_attempts(fields: list[str], names: dict[str, str]) -> Iterator[Request]:
    """Every server that the request was sent to; two where the first one could not be connected to."""
    for address, status, took in zip(*(field.split(", ") for field in fields[2:])):
        if address in names:
            # Without a header it is nginx that says 502 or 504.
            answered = int(status) if status.isdigit() and took != "-" else None
            yield Request(names[address], answered, None if answered is None else _number(took) * 1000)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
