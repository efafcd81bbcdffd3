"""What came of the points of `make kills`: rows in a file, a table of all, a summary."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from support.points import Point


@dataclass(frozen=True)
class Row:
    """What came of one point. Times are seconds after the accident; `problem` is empty when all is as demanded.

    `bound`: within which all had to serve and no lock to be held; of a run that went on, when it had ended, and more.
    """

    point: str
    ended: str = ""
    bound: float = 0.0
    served: float = 0.0
    unlocked: float = 0.0
    out: str = ""
    healed: str = ""
    requests: int = 0
    failed: int = 0
    problem: str = ""


class Book:
    """The rows so far, one JSON line each in a file: a run that is repeated leaves out what went well before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text().splitlines() if path.exists() else ():
            row = Row(**json.loads(line))
            self.rows[row.point] = row

    @property
    def table_path(self) -> Path:
        """Where the table of all rows is."""
        return self.path.with_suffix(".md")

    def is_done(self, point: Point) -> bool:
        """Whether that point went well in an earlier run."""
        row = self.rows.get(str(point))
        return row is not None and not row.problem

    def enter(self, row: Row) -> None:
        """Writes a row down; from any thread."""
        with self._lock:
            self.rows[row.point] = row
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    def table(self) -> str:
        """All rows, as a Markdown table beside the file; returns the summary: one row a command and victim."""
        rows = sorted(self.rows.values(), key=lambda row: row.point)
        heads = ("point", "ended", "bound", "served after", "unlocked after", "out", "healed", "requests", "failed")
        lines = [_line(*heads), _line(*["---"] * len(heads))]
        lines += [
            _line(r.point, r.ended, f"{r.bound:g}", r.served, r.unlocked, r.out, r.healed, r.requests, r.failed)
            for r in rows
        ]
        self.table_path.write_text("\n".join(lines) + "\n")
        return self._summary(rows)

    def _summary(self, rows: Sequence[Row]) -> str:
        heads = (
            "command",
            "what died",
            "points",
            "served after",
            "unlocked after",
            "past its bound, at most",
            "requests",
            "failed",
        )
        lines = [_line(*heads), _line(*["---"] * len(heads))]
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            point = Point.named(row.point)
            groups.setdefault((point.work, _kind(point.victim)), []).append(row)
        for (work, kind), mine in groups.items():
            good = [row for row in mine if not row.problem] or mine
            count = f"{len(good)} of {len(mine)}" if len(good) < len(mine) else len(mine)
            served, unlocked = _spread([row.served for row in good]), _spread([row.unlocked for row in good])
            total, failed = sum(row.requests for row in mine), sum(row.failed for row in mine)
            past = max(max(row.served, row.unlocked) - row.bound for row in good)
            lines.append(_line(work, kind, count, served, unlocked, f"{max(past, 0):.1f} s", f"{total:,}", failed))
        return "\n".join(lines)


def _kind(victim: str) -> str:
    kinds = {"controller": "controller, killed", "silence": "controller, silent"}
    return kinds.get(victim) or ("balancer's agent" if victim.startswith("lb") else "a web host's agent")


def _spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.1f} s, at most {ordered[-1]:.1f} s"


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
