"""Frontends that somebody else configured, led to another place: what `haproxy_frontend` and `nginx_frontend` share.

Text in, text out. Only what is plain is touched; everything else stays as it is written, to the byte.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Callable

Resolved = Callable[[str], list[str]]
"""The IP addresses of an address or name."""


class Unsupported(Exception):
    """Why the text leads nobody to the app, or not in a way that may be changed. The text is for a person."""


class NoMatch(Unsupported):
    """The text has nothing of the app's servers."""


@dataclass(frozen=True)
class Rewrite:
    """`text` is the whole with its frontends led elsewhere; `diff` has the changed lines alone, so no secrets.

    `backends` are those that they led to, `missing` the places that none of them has.
    """

    text: str
    diff: str
    backends: tuple[str, ...]
    missing: tuple[str, ...] = ()


def diff(before: str, after: str) -> str:
    """The changed lines alone."""
    sides = (before.splitlines(keepends=True), after.splitlines(keepends=True))
    return "".join(difflib.unified_diff(*sides, "as it is", "as it will be", n=0))


class Places:
    """The app's servers, found again however a configuration spells them: `ADDRESS:PORT` → what a person calls it."""

    def __init__(self, places: dict[str, str], resolved: Resolved) -> None:
        self._resolved = resolved
        self._known = {spelling: who for place, who in places.items() for spelling in self._spelled(place)}
        self._everybody = set(places.values())

    def find_host(self, server: str) -> str:
        """Who is at `ADDRESS:PORT`; empty for a stranger."""
        return next((self._known[spelling] for spelling in self._spelled(server) if spelling in self._known), "")

    def find_hosts(self, backend: str, servers: Iterable[str]) -> set[str]:
        """Everybody a backend sends to; none where all are strangers. CannotMove where only some are."""
        hosts = {server: self.find_host(server) for server in servers}
        strangers = [server for server, who in hosts.items() if not who]
        if strangers and len(strangers) < len(hosts):
            raise Unsupported(f"{backend} also sends to {strangers[0]}, where no host of the app is known")
        return set(filter(None, hosts.values()))

    def missing(self, seen: Iterable[str]) -> tuple[str, ...]:
        """Those that are not among the `seen`."""
        return tuple(sorted(self._everybody - set(seen)))

    def _spelled(self, place: str) -> list[str]:
        """A place as every `IP:PORT` that it may mean, and as it is written."""
        address, _, port = place.rpartition(":")
        return (
            [place, *(f"{ip_address}:{port}" for ip_address in self._resolved(address.strip("[]")))]
            if address
            else [place]
        )
