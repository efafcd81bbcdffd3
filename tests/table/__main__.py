"""`python -m table`, which is `make table`."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from support.labs import fresh_name

from deployer.lab import Lab, LabSpec, down, up
from table import page
from table.cells import ALLOWED, BALANCERS, SERVERS, STRATEGIES, SUPERVISORS, Cell, chosen
from table.lane import Lane
from table.results import Results

PACKAGES = ("uvicorn", "gunicorn", "uvicorn-worker", "fastapi", "flask")
HOSTS = {"haproxy": "lb1", "nginx": "lb2", "caddy": "lb3"}


def main() -> int:
    """Measures, and writes the page. Returns the exit status: 1 where a cell is not what it should be."""
    parser = argparse.ArgumentParser(prog="make table", description=__doc__)
    parser.add_argument("--cells", default="", help="only these: patterns of names, separated by commas")
    parser.add_argument("--seed", default="", help="only six that this seed draws")
    parser.add_argument("--at-once", type=int, default=3, help="how many cells at once")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page anew")
    options = parser.parse_args()
    results = Results()
    wanted = chosen(options.cells, options.seed)
    if not (options.cells or options.seed):
        wanted = [cell for cell in ALLOWED if cell.name not in results.cells]
    try:
        wrong = [] if options.page or not wanted else measure(wanted, results, options.at_once)
    finally:
        page.write(results)
    for line in wrong:
        print(line, flush=True)
    return 1 if wrong else 0


def measure(cells: Sequence[Cell], results: Results, at_once: int) -> list[str]:
    """Measures the cells on a lab of their own and notes each. What was not as it should be, in words."""
    name = fresh_name()
    with tempfile.TemporaryDirectory(prefix="table-") as folder:
        try:
            lab = up(LabSpec(name=name, hosts=2, balancers=len(HOSTS)), lambda line: print(line, flush=True))
            lanes = _by_lane(cells).items()
            work = {Lane(lab, Path(folder), *each, HOSTS.get(each[1])): found for each, found in lanes}
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(lambda lane: lane.set_up(work[lane]), work))
            turns, stopping = threading.Semaphore(at_once), threading.Event()
            with ThreadPoolExecutor(len(work)) as pool:
                told = pool.map(lambda lane: _run(lane, work[lane], results, turns, stopping), work)
                try:
                    return [line for found in told for line in found]
                except KeyboardInterrupt:
                    stopping.set()
                    print("stops when the cells under way are done; once more stops now", flush=True)
                    raise
        finally:
            down(name, print)


def _by_lane(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Supervisor and balancer → the cells there, one server after the other: each lane begins with another one."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for number, lane in enumerate(itertools.product(SUPERVISORS, BALANCERS)):
        servers = [*SERVERS][number % len(SERVERS) :] + [*SERVERS][: number % len(SERVERS)]
        mine = [cell for cell in cells if (cell.supervisor, cell.balancer) == lane]
        if mine:
            found[lane] = sorted(mine, key=partial(_place, servers))
    return found


def _place(servers: Sequence[str], cell: Cell) -> tuple[int, int]:
    return servers.index(cell.server), STRATEGIES.index(cell.strategy)


def _run(
    lane: Lane, cells: Sequence[Cell], results: Results, turns: threading.Semaphore, stopping: threading.Event
) -> list[str]:
    """One cell after the other, each when it is its turn."""
    wrong = []
    for cell in cells:
        with turns:
            if stopping.is_set():
                break
            try:
                result = lane.measure(cell)
            except Exception:  # the other cells are measured all the same
                wrong.append(f"{cell.name} could not be measured:\n{traceback.format_exc()}")
                print(wrong[-1], flush=True)
                continue
        results.add(cell.name, result)
        results.made_with(_made_with(lane))
        unforeseen = cell.unforeseen(result)
        wrong += [f"{cell.name}: {', '.join(unforeseen)}: {result['examples']}"] if unforeseen else []
        said = f"{result['failed']} of {result['requests']} failed, {result['stale']} stale, {result['max_ms']} ms"
        print(f"{cell.name}: {said}, {result['seconds_a_change']} s a change {unforeseen or ''}", flush=True)
    return wrong


def _made_with(lane: Lane) -> dict[str, Any]:
    """Versions, and the machine's size in general words."""
    lab = lane.lab
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {
        "systemd": _version(lab, "web1", "systemctl --version"),
        "supervisord": _version(lab, "web1", "supervisord --version"),
        "HAProxy": _version(lab, "lb1", "haproxy -v"),
        "nginx": _version(lab, "lb2", "nginx -v 2>&1"),
        "Caddy": _version(lab, "lb3", "$(ls /var/lib/deploy/caddy/*/caddy | head -1) version"),
        "Linux": _plain(platform.release()),
    }
    code = f"import importlib.metadata as m; print(*(n + ' ' + m.version(n) for n in {PACKAGES}), sep='\\n')"
    for project in lane.apps.values():
        done = lab.exec("web1", [f"/srv/{project.folder.name}/current/.venv/bin/python", "-c", code])
        versions |= dict(line.split(" ", 1) for line in done.stdout.splitlines())
    machine = f"{os.cpu_count()} cores and {memory:.0f} GB of memory"
    return {"machine": machine, "versions": {name: version for name, version in versions.items() if version}}


def _version(lab: Lab, host: str, command: str) -> str:
    return _plain(lab.exec(host, ["sh", "-c", command]).stdout)


def _plain(text: str) -> str:
    found = re.search(r"\d+(\.\d+)*", text)
    return found[0] if found else ""


if __name__ == "__main__":
    sys.exit(main())
