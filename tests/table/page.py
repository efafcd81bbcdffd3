"""docs/table.md, made of what was measured and of what the product plans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from table.cells import ACCEPT, CELLS, REFUSED, SERVERS, STRATEGIES, SUPERVISORS, WEBSOCKETS, Cell, Race
from table.lane import RATE
from table.results import Results

PATH = Path(__file__).resolve().parents[2] / "docs" / "table.md"

INTRODUCTION = """\
# What a change costs: the table

*`make table` wrote this page. Do not change it by hand.*

Every strategy, server, supervisor and balancer together: {allowed} cells that are carried out, and
{refused} that are [refused](#what-is-refused). In each there are at least {changes} changes of an
instance, by `deploy push` of a new release, `deploy reload` and `deploy rollback` in turn, as far as
the strategy carries them out. Users are there meanwhile: {rate} requests a second from a process of
their own, of new and kept connections, POSTs, 2 s requests, 1 s streams and, for ASGI, websockets.
{measured} of the {allowed} cells are measured so far, with {changed} changes and {requests} requests.
**Where a change can cost nothing, {failed} of {safe} requests failed.**

Behind a balancer: two hosts with two instances each, of which two change at a time. Without one: one
host with one instance that users talk to. Real Debian hosts with systemd, side by side on one small
machine ({machine}). *Counts are facts of the protocols. Latencies are upper bounds: the machine was
overloaded at times, so that an app took many seconds to start.* They are those beyond what a request
itself asks for. "Stale" are idle kept connections that were closed, after which a client asks again (a
browser shows an error for a POST).

{versions}. Measured {dates}.

## What can fail, and where

Where nothing is said, no request failed, and a result with one would fail `make test`. The others have a name:

| | where | what |
|---|---|---|
{races}

`auto` takes none of these where another strategy that carries out every change costs nothing.
"""


def write(results: Results) -> None:
    """Writes the page."""
    PATH.write_text(text(results))


def text(results: Results) -> str:
    """The whole page."""
    parts = [_introduction(results)]
    titles = {"none": "Without a balancer", "haproxy": "HAProxy", "nginx": "nginx", "caddy": "Caddy"}
    parts += [_section(balancer, title, results) for balancer, title in titles.items()]
    parts.append(_refused())
    return "\n".join(parts)


def _introduction(results: Results) -> str:
    known = {cell.name: cell for cell in CELLS if cell.name in results.cells}
    safe = [name for name, cell in known.items() if cell.race is None]
    found = results.cells.values()
    versions = results.made.get("versions", {})
    return INTRODUCTION.format(
        allowed=sum(not cell.refused for cell in CELLS),
        refused=sum(bool(cell.refused) for cell in CELLS),
        changes=min(cell.changes for cell in CELLS if not cell.refused),
        rate=f"{RATE:g}",
        measured=len(known),
        changed=f"{sum(each['changes'] for each in found):,}",
        requests=f"{sum(each['requests'] for each in found):,}",
        failed=sum(results.cells[name]["failed"] for name in safe),
        safe=f"{sum(results.cells[name]['requests'] for name in safe):,}",
        machine=results.made.get("machine", "not noted"),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        dates=" to ".join(sorted({min(_dates(found)), max(_dates(found))})),
        races="\n".join(_race(race, results) for race in (REFUSED, ACCEPT, WEBSOCKETS)),
    )


def _dates(found: Iterable[Mapping[str, Any]]) -> list[str]:
    return [each["when"] for each in found] or ["never"]


def _race(race: Race, results: Results) -> str:
    cells = [cell for cell in CELLS if not cell.refused and cell.race is race]
    found = [results.cells[cell.name] for cell in cells if cell.name in results.cells]
    changes = sum(each["changes"] for each in found)
    failed, requests = (sum(each[key] for each in found) for key in ("failed", "requests"))
    count = f"{failed:,} of {requests:,} in {changes:,} changes"
    strategies = ", ".join(f"`{each}`" for each in STRATEGIES if any(cell.strategy == each for cell in cells))
    servers = ", ".join(each for each in SERVERS if any(cell.server == each for cell in cells))
    where = "any balancer, and none" if any(cell.balancer != "none" for cell in cells) else "no balancer"
    servers = "every server" if servers == ", ".join(SERVERS) else servers
    return f"| *{race.name}* | {where}; {strategies}; {servers} | {race.why}: {count} |"


def _section(balancer: str, title: str, results: Results) -> str:
    lines = [f"## {title}", "", _picked(balancer), ""]
    columns = ("failed of", "stale", "p99", "worst")
    head = ["strategy", "server", *(f"{each}: {column}" for each in SUPERVISORS for column in columns), "what failed"]
    lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for strategy in STRATEGIES:
        for server in SERVERS:
            cells = [Cell(strategy, server, supervisor, balancer) for supervisor in SUPERVISORS]
            if all(cell.refused for cell in cells):
                continue
            row = [f"`{strategy}`", server, *(word for cell in cells for word in _words(cell, results))]
            lines.append(f"| {' | '.join([*row, _why(cells, results)])} |")
    return "\n".join([*lines, ""])


def _picked(balancer: str) -> str:
    picks = {
        supervisor: {Cell(STRATEGIES[0], server, supervisor, balancer).auto for server in SERVERS}
        for supervisor in SUPERVISORS
    }
    said = [f"{' or '.join(f'`{each}`' for each in sorted(found))} with {name}" for name, found in picks.items()]
    return f"`auto` picks {', '.join(said)}."


def _words(cell: Cell, results: Results) -> list[str]:
    if cell.refused:
        return ["refused", "", "", ""]
    found = results.cells.get(cell.name)
    if found is None:
        return ["not measured", "", "", ""]
    failed = f"{found['failed']:,} of {found['requests']:,}"
    return [failed, str(found["stale"]), _seconds(found["p99_ms"]), _seconds(found["max_ms"])]


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.2f} s" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _why(cells: Iterable[Cell], results: Results) -> str:
    """The race that failures of a row have, and what of the changes is not carried out."""
    found = []
    for cell in cells:
        failed = results.cells.get(cell.name, {}).get("failed", 0)
        if failed:
            found.append(cell.race.name if cell.race else "**should be none**")
        if not cell.refused and cell.refusals:
            found.append(f"only `deploy {', '.join(dict.fromkeys(cell.commands))}`")
    return "; ".join(dict.fromkeys(found))


def _refused() -> str:
    reasons: dict[str, list[Cell]] = {}
    for cell in CELLS:
        for command, reason in cell.refusals.items():
            if command == "reload" or not cell.refused:
                reasons.setdefault(reason, []).append(cell)
    lines = ["## What is refused", "", "In the product's own words, as it plans such a change:", ""]
    lines += ["| strategy | server | supervisor | balancer | why |", "|---|---|---|---|---|"]
    for reason, cells in reasons.items():
        axes = [
            _all(SERVERS, [cell.server for cell in cells], "every one"),
            _all(SUPERVISORS, [cell.supervisor for cell in cells], "both"),
            _all(("none", "haproxy", "nginx", "caddy"), [cell.balancer for cell in cells], "any, or none"),
        ]
        lines.append(f"| `{cells[0].strategy}` | {' | '.join(axes)} | {reason} |")
    return "\n".join([*lines, ""])


def _all(every: Iterable[str], found: Iterable[str], all_of_them: str) -> str:
    names = list(dict.fromkeys(found))
    return all_of_them if set(names) == set(every) else ", ".join(names)
