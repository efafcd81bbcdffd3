"""Pages of one release find their static files at every instance, while releases change and afterwards.

A reader, a process of its own, asks for the page, then for the file that it names, and again and again for the files
of pages that were seen before: as browsers do whose page is some minutes old.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.agents import until
from support.inventories import inventory
from support.project import Project

from deployer.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(900)]

APP = """\
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

VERSION = Path("VERSION").read_text().strip()


async def page(request):
    return PlainTextResponse(f"/static/deep/app.{VERSION}.css")


async def healthz(request):
    return PlainTextResponse("ok")


async def no_file(request):
    return PlainTextResponse("the app has no such file", status_code=404)


files = MOUNT
app = Starlette(routes=[Route("/", page), Route("/healthz", healthz), *files])
"""
SERVES = 'Mount("/static", app=StaticFiles(directory="static"))'

READER = """\
import http.client, json, sys
address, host, *known = sys.argv[1:]
seen, counts = dict.fromkeys(known), {"pages": 0, "files": 0, "missing": []}

def ask(path):
    connection = http.client.HTTPConnection(address, timeout=15)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()

turn = 0
while True:
    status, path = ask("/")
    counts["pages"] += status == 200
    if status == 200:
        seen.pop(path, None)
        seen[path] = None
    turn += 1
    for wanted in {list(seen)[-1], list(seen)[turn % len(seen)]}:
        status, text = ask(wanted)
        counts["files"] += 1
        if status != 200 or wanted.split(".")[1] not in text:
            counts["missing"].append([wanted, status])
    print(json.dumps({**counts, "seen": list(seen)}), flush=True)
"""

QUICK: dict[str, Any] = {
    "health": {"within": "30s"},
    "runtime": {"app": "main:app", "workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "1s", "waves": [1, 1, 1]},
    "static": {"url": "/static/", "dir": "static/"},
}


@contextmanager
def reader(address: str, host: str, *known: str) -> Iterator[Any]:
    """Reads until the block ends; the call gives what it has counted so far."""
    process = subprocess.Popen([sys.executable, "-c", READER, address, host, *known], stdout=subprocess.PIPE, text=True)
    out = process.stdout
    assert out is not None
    lines: list[str] = []

    def hear() -> None:
        for line in out:
            lines.append(line)

    threading.Thread(target=hear, daemon=True).start()

    def counted() -> dict[str, Any]:
        """What it had counted at the end of a turn that began after this call."""
        now = len(lines)
        until(lambda: len(lines) >= now + 2, 60.0)
        return dict(json.loads(lines[-1]))

    with process, out:
        try:
            yield counted
        finally:
            process.kill()


def app_of(folder: Path, lab: Lab, name: str, files: str, **settings: Any) -> Project:
    """An app whose page names the file of its version."""
    source = folder / f"{name}-source"
    (source / "static").mkdir(parents=True)
    (source / "main.py").write_text(APP.replace("MOUNT", files))
    (source / "requirements.txt").write_text("starlette\nuvicorn\n")
    (source / "deploy.yaml").write_text(f"app: {name}\n")
    project = Project(folder / name, lab.name, str(source), {**QUICK, "domains": [f"{name}.test"], **settings})
    styled(project, 1)
    return project


def styled(project: Project, number: int) -> None:
    """A version with one file, whose name only it has."""
    for old in (project.folder / "static").rglob("*.css"):
        old.unlink()
    (project.folder / "static/deep").mkdir(parents=True, exist_ok=True)
    (project.folder / f"static/deep/app.{number}.css").write_text(f"/* {number} */")
    project.version(number)


def read_all(counted: Any, project: Project, *more: str) -> dict[str, Any]:
    """Two pushes and a rollback while the reader reads; what it has counted by then."""
    for number in (2, 3):
        styled(project, number)
        project.deploy("push", *more)
    project.deploy("rollback", *more)
    until(lambda: len(counted()["seen"]) >= 3, 60.0)
    return dict(counted())


def test_pages_find_their_files_at_every_instance(lab: Lab, tmp_path: Path) -> None:
    project = app_of(tmp_path, lab, "pages", f"[{SERVES}]", port=8110)
    project.deploy("setup")
    project.settings({"static": None})
    project.commit("without static")
    project.deploy("push")
    with reader(lab.address, "pages.test") as counted:
        styled(project, 2)
        project.deploy("push")
        until(lambda: counted()["missing"], 60.0)  # what this is for: the page of before has no file any more
    project.settings({"static": QUICK["static"]})
    styled(project, 1)
    told = project.deploy("push").events
    assert any("the app itself: they lie on its hosts" in json.dumps(event) for event in told)
    with reader(lab.address, "pages.test") as counted:
        end = read_all(counted, project)
    assert end["missing"] == []
    assert end["files"] >= 100, end
    assert len(end["seen"]) == 3


def test_a_balancer_on_the_apps_own_host_serves_them_itself(small: tuple[Lab, str], tmp_path: Path) -> None:
    lab, kind = small
    where = str(inventory(lab, tmp_path / "one.yaml", ["lb1"], ["lb1"], kind))
    project = app_of(tmp_path, lab, "files", '[Route("/static/{path:path}", no_file)]', port=8110)
    project.deploy("setup", "-i", where)
    project.deploy("push", "-i", where)
    with reader(lab.address, "files.test") as counted:
        end = read_all(counted, project, "-i", where)
        assert end["missing"] == []
        assert end["files"] >= 50, end
    project.deploy("maintenance", "on", "-i", where)
    with reader(lab.address, "files.test", "/static/deep/app.2.css") as counted:
        assert {status for _, status in counted()["missing"]} == {503}
