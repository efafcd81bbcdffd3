"""Whatever dies at whichever step boundary, the hosts wind up, the next push heals, and nobody notices.

    make kills                                 all points; an hour or two
    make kills POINTS='push/*/lb1,reload/*'    those whose names match (tests/support/points.py has the grammar)
    make kills POINTS=20 SEED=7                twenty of them, chosen by that seed
    make kills OUT=build/mine.jsonl            where rows are written; what went well there before is not repeated

Points are the step boundaries that a run of the product itself tells of, so a new step is a new point. Apps on one lab
suffer beside each other: most of the time is waiting. Rows are also a table beside OUT (`.md`).
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue

import pytest
from support.hit import App, Fleet
from support.kills import WORKS, Ordeal, enumerated, points
from support.points import Point, chosen
from support.project import REPOSITORY
from support.rows import Book

from deployer.lab import Lab

pytestmark = [pytest.mark.machines, pytest.mark.faults, pytest.mark.timeout(4 * 3600)]

APPS = 7
AT_ONCE = 3  # pushes: more would only wait for each other
RATE = 5.0
HOOK = {"release": {"command": "true", "rerun": "safe"}}


def test_at_every_step_boundary(lab: Lab, tmp_path: Path) -> None:
    book = Book(Path(os.environ.get("OUT") or REPOSITORY / "build/kills.jsonl"))
    seed = int(os.environ.get("SEED") or 1)
    began = time.monotonic()
    fleet = Fleet(lab, tmp_path, *(f"kills{number}" for number in range(APPS)), rate=RATE, hooks=HOOK)
    try:
        every = _all_points(fleet)
        wanted = chosen(every, os.environ.get("POINTS", ""), seed)
        todo = sorted((one for one in wanted if not book.is_done(one)), key=lambda one: list(WORKS).index(one.work))
        print(
            f"{len(every)} points; {len(wanted)} wanted, {len(wanted) - len(todo)} done before; seed {seed}", flush=True
        )
        assert wanted, "POINTS matches none of them"
        _suffer(fleet, todo, book)
        for app in fleet.apps.values():
            app.doors.close()
            assert app.users is not None
            app.users.demand(proven=app.proven, at_least=1, rate=RATE * 0.5)
    finally:
        fleet.close()
        print(f"\n{book.table()}\n{(time.monotonic() - began) / 60:.0f} minutes; every point: {book.table_path}")
    bad = [f"{row.point}: {row.problem}" for row in book.rows.values() if row.problem]
    assert not bad, "\n\n".join(bad)


def _all_points(fleet: Fleet) -> list[Point]:
    """Of a push: everybody at every boundary. Of the others: the controller, and agents at their own steps."""
    apps = dict(zip(WORKS, fleet.apps.values(), strict=False))
    hosts = sorted(fleet.lab.hosts)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        moments = dict(zip(apps, pool.map(lambda work: enumerated(apps[work], work), apps), strict=True))
    return [point for work in apps for point in points(work, moments[work], hosts)]


def _suffer(fleet: Fleet, todo: list[Point], book: Book) -> None:
    """Every app takes the next point until there is none left."""
    queue: Queue[Point] = Queue()
    for point in todo:
        queue.put(point)
    turns, count = threading.Semaphore(AT_ONCE), itertools.count(1)

    def one(app: App) -> None:
        ordeal = Ordeal(app, turns)
        while True:
            try:
                point = queue.get_nowait()
            except Empty:
                return
            row = ordeal.suffer(point)
            book.enter(row)
            print(f"{next(count)} of {len(todo)}: {row}", flush=True)
            if row.problem and not ordeal.mend():
                print(f"{app.truth.app} could not be mended, and takes no further part", flush=True)
                return

    with ThreadPoolExecutor(len(fleet.apps)) as pool:
        try:
            list(pool.map(one, fleet.apps.values()))
        except KeyboardInterrupt:  # what is under way comes to its end, and is kept
            queue.queue.clear()
            raise
    assert queue.empty(), "no app was left"
