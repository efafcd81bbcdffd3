"""A `uv.lock` (version 1) as a graph: what packages in it ask for, and what they reach."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from packaging.utils import canonicalize_name

Package = Mapping[str, Any]
Edge = Mapping[str, Any]


def edges(package: Package, extras: Collection[str] = (), groups: Collection[str] = ()) -> Iterator[Edge]:
    """Yield what a package asks for, also with those of its extras and groups, whose names are canonical."""
    yield from package.get("dependencies", ())
    for table, names in (("optional-dependencies", extras), ("dev-dependencies", groups)):
        for name, dependencies in package.get(table, {}).items():
            if canonicalize_name(name) in names:
                yield from dependencies


def reach(start: Iterable[Edge], follow: Callable[[Edge], Iterable[Package]]) -> dict[tuple[str, str], Package]:
    """Return every package that edges lead to, with the extras that they ask for: (name, version) → package.

    `follow` gives the packages that an edge means; none leaves it out.
    """
    packages: dict[tuple[str, str], Package] = {}
    done: set[tuple[str, str, str]] = set()
    pending = list(start)
    while pending:
        edge = pending.pop()
        for package in follow(edge):
            key = (package["name"], str(package.get("version", "")))
            packages[key] = package
            for extra in ("", *map(canonicalize_name, edge.get("extra", ()))):
                if (*key, extra) not in done:
                    done.add((*key, extra))
                    pending += edges(package, [extra])
    return packages
