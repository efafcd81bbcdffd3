"""The frontends of an HAProxy that somebody else configured, led to another backend: text in, text out.

Only what is plain is touched: `default_backend NAME` and `use_backend NAME …` of a backend all of whose servers are
the app's. Everything else stays as it is written, to the byte.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Callable, Dict, List, Set, Tuple

_SECTIONS = (
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "cache",
    "program",
)
_LEADS = ("default_backend", "use_backend")


class CannotMove(Exception):
    """Why the text leads nobody to the app, or not in a way that may be changed. The text is for a person."""


@dataclass(frozen=True)
class Moved:
    """`text` is the whole with its frontends led to `backend`; `diff` has the changed lines alone, so no secrets.

    `backends` are those that they led to, `missing` the places that none of them has.
    """

    text: str
    diff: str
    backends: Tuple[str, ...]
    missing: Tuple[str, ...] = ()


def moved(text: str, places: Dict[str, str], backend: str, resolved: Callable[[str], List[str]]) -> Moved:
    """The configuration with all frontends of the app's places led to `backend`.

    Args:
        places: `ADDRESS:PORT` of the app's servers → what a person calls that host.
        resolved: the IP addresses of an address or name.

    Raises CannotMove. Nothing left to change is `diff` empty: they are led there already.
    """
    lines = text.splitlines(keepends=True)
    servers, leads, listening = _read(lines)
    wanted = {each: who for place, who in places.items() for each in _spelled(place, resolved)}
    ours: Dict[str, Set[str]] = {}
    for name, found in servers.items():
        known = {server: [wanted[each] for each in _spelled(server, resolved) if each in wanted] for server in found}
        strangers = [server for server, whose in known.items() if not whose]
        if len(strangers) == len(known):
            continue
        if strangers:
            raise CannotMove("backend %s also sends to %s, where no host of the app is known" % (name, strangers[0]))
        if name in listening:
            raise CannotMove("`listen %s` sends to the app itself: make a frontend and a backend of it" % name)
        ours[name] = {whose[0] for whose in known.values()}
    already = [at for at, name in leads if name == backend]
    if not ours:
        raise CannotMove("no backend there sends to the app")
    changed = [at for at, name in leads if name in ours]
    if not changed and not already:
        raise CannotMove("no `default_backend` or `use_backend` leads to %s" % ", ".join(sorted(ours)))
    after = list(lines)
    for at in changed:
        after[at] = _led(lines[at], backend)
    diff = "".join(difflib.unified_diff(lines, after, "as it is", "as it will be", n=0))
    have = set().union(*ours.values())
    return Moved("".join(after), diff, tuple(sorted(ours)), tuple(sorted(set(places.values()) - have)))


def leads(text: str, backend: str) -> bool:
    """Whether any frontend there leads to a backend of that name, under whatever condition."""
    _, found, _ = _read(text.splitlines(keepends=True))
    return any(name == backend for _, name in found)


def _read(lines: List[str]) -> Tuple[Dict[str, List[str]], List[Tuple[int, str]], Set[str]]:
    """Servers by backend, the lines that lead to one, and the names of `listen` sections."""
    servers: Dict[str, List[str]] = {}
    leads: List[Tuple[int, str]] = []
    listening: Set[str] = set()
    name, kind = "", ""
    for at, line in enumerate(lines):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in _SECTIONS:
            kind, name = words[0], words[1] if len(words) > 1 else ""
            if kind == "listen":
                listening.add(name)
        elif words[0] == "server" and kind in ("backend", "listen") and len(words) > 2:
            servers.setdefault(name, []).append(words[2])
        elif words[0] in _LEADS and kind in ("frontend", "listen") and len(words) > 1:
            leads.append((at, words[1]))
    return servers, leads, listening


def _spelled(place: str, resolved: Callable[[str], List[str]]) -> List[str]:
    """A place as every `IP:PORT` that it may mean, and as it is written."""
    address, _, port = place.rpartition(":")
    return [place, *("%s:%s" % (each, port) for each in resolved(address))] if address else [place]


def _led(line: str, backend: str) -> str:
    """The line with its second word replaced, its spaces and comment as they were."""
    first = line.split()[0]
    start = line.index(first) + len(first)
    rest = line[start:]
    second = rest.split()[0]
    at = start + rest.index(second)
    return line[:at] + backend + line[at + len(second) :]
