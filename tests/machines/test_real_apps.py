"""Apps that nobody here wrote, from their packages: pushed, reloaded, rolled back, and a worker of theirs killed.

    packages   simple-repository-server, a FastAPI app    gunicorn's own ASGI worker
    tables     datasette, ASGI                            uvicorn --workers
    bin        httpbin, Flask                             gunicorn, sync workers
    cms        a Wagtail project: Django, WSGI            gunicorn, threads
    live       the same project, ASGI                     gunicorn with uvicorn workers

All five share three hosts and their HAProxy. Users are there all the while, and not one request fails.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.agents import until
from support.project import Project

from deployer import probe
from deployer.lab import Lab

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(1500)]

RATE = 12.0
AT_ONCE = 2  # stories: more would only wait for each other
WITHIN = 600.0
LATE = 15.0  # seconds after which a request counts as failed: fleets of five apps start their interpreters beside it

PACKAGES = """\
from simple_repository_server.__main__ import create_app

app = create_app(["index"])
"""
TABLES = """\
from datasette.app import Datasette

app = Datasette(immutables=["shop.db"]).app()
"""
BIN = """\
from httpbin import app

__all__ = ["app"]
"""
LOCAL = """\
import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = [".test"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "data/cms.sqlite3"}}
"""
ASGI = """\
from django.core.asgi import get_asgi_application

application = get_asgi_application()
"""


@dataclass(frozen=True)
class App:
    """One app: how its folder is made, its settings, the path that users ask, and what its answer there holds."""

    make: Callable[[Path], None]
    settings: Mapping[str, Any]
    path: str
    holds: str
    processes: int = 2


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def packages(folder: Path) -> None:
    """An index of one package, that of a wheel."""
    _write(folder, {"main.py": PACKAGES, "requirements.txt": "simple-repository-server\ngunicorn\n"})
    wheel = folder / "index/colorama/colorama-0.4.6-py2.py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    _pip("download", "--no-deps", "--dest", str(wheel.parent), "colorama==0.4.6")
    assert wheel.exists()


def tables(folder: Path) -> None:
    """A database of forty rows."""
    _write(folder, {"main.py": TABLES, "requirements.txt": "datasette\nuvicorn\n"})
    with sqlite3.connect(folder / "shop.db") as data:
        data.execute("create table things (name text, price integer)")
        data.executemany("insert into things values (?, ?)", [(f"thing {price}", price) for price in range(40)])
    data.close()


def httpbin(folder: Path) -> None:
    """The package as it is."""
    _write(folder, {"main.py": BIN, "requirements.txt": "httpbin\ngunicorn\n"})


def wagtail(folder: Path) -> None:
    """What `wagtail start` makes, and the settings of a site of one's own."""
    scratch = folder.parent / f"{folder.name}-tool"
    subprocess.run([sys.executable, "-m", "venv", str(scratch)], check=True)
    subprocess.run([scratch / "bin/pip", "install", "--quiet", "wagtail>=8,<9"], check=True, capture_output=True)
    folder.mkdir(exist_ok=True)
    subprocess.run([scratch / "bin/wagtail", "start", "shopcms", str(folder)], check=True, capture_output=True)
    _write(
        folder,
        {
            "shopcms/settings/local.py": LOCAL,
            "shopcms/asgi.py": ASGI,
            "requirements.txt": "wagtail>=8,<9\ngunicorn\nuvicorn\nuvicorn-worker\n",
        },
    )


DJANGO: Mapping[str, Any] = {
    "env": {"DJANGO_SETTINGS_MODULE": "shopcms.settings.production"},
    "secrets": {"SECRET_KEY": {"command": "echo a key of the test"}},
    "shared": ["data/"],
    # Every host has a database of its own, so every host migrates.
    "hooks": {"prepare": "python manage.py collectstatic --no-input && python manage.py migrate"},
    "health": {"path": "/", "within": "60s"},
}
APPS: Mapping[str, App] = {
    "packages": App(
        packages,
        {"runtime": {"app": "main:app", "server": "gunicorn-asgi", "workers": 2}, "health": {"path": "/simple/"}},
        "/simple/",
        "colorama",
    ),
    "tables": App(
        tables,
        {"runtime": {"app": "main:app", "server": "uvicorn", "workers": 2}, "health": {"path": "/shop.json"}},
        "/shop/things.json?_shape=array",
        "thing 39",
    ),
    "bin": App(
        httpbin,
        {"runtime": {"app": "main:app", "server": "gunicorn", "workers": 3}, "health": {"path": "/status/200"}},
        "/anything?thing=39",
        '"thing": "39"',
        3,
    ),
    "cms": App(
        wagtail,
        {
            "runtime": {
                "app": "shopcms.wsgi:application",
                "server": "gunicorn",
                "worker_class": "gthread",
                "workers": 2,
                "args": ["--threads", "4"],
            },
            **DJANGO,
        },
        "/",
        "Welcome to your new Wagtail site!",
    ),
    "live": App(
        wagtail,
        {"runtime": {"app": "shopcms.asgi:application", "server": "gunicorn+uvicorn", "workers": 2}, **DJANGO},
        "/",
        "Welcome to your new Wagtail site!",
    ),
}


def test_push_reload_rollback_and_a_killed_worker_go_unnoticed(lab: Lab, tmp_path: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        stories = {name: pool.submit(_story, name, app, lab, tmp_path) for name, app in APPS.items()}
        failed = {name: story.exception() for name, story in stories.items() if story.exception()}
    assert not failed, failed


def _story(name: str, app: App, lab: Lab, folder: Path) -> None:
    source = folder / f"{name}-source"
    app.make(source)
    _write(source, {"deploy.yaml": "app: shop\n", ".gitignore": ""})
    settings = {
        "app": name,
        "domains": [f"{name}.test"],
        "port": 8200 + 10 * list(APPS).index(name),
        "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1, 2]},
        **app.settings,
    }
    project = Project(folder / name, lab.name, str(source), settings)
    project.deploy("setup", within=WITHIN)
    first = project.deploy("push", within=WITHIN).release
    _answers(lab, name, app)
    url = f"http://{lab.address}{app.path}"
    log = folder / f"{name}.log"
    with probe.start(url, rate=RATE, mix="get", host_header=f"{name}.test", limit=LATE, log_path=log) as prober:
        project.version(2)
        second = project.deploy("push", within=WITHIN)
        prober.mark("reload")
        reloaded = project.deploy("reload", within=WITHIN)
        prober.mark("a worker is killed")
        for host in ("web1", "web2", "web3"):
            _kill_a_worker(lab, host, f"{name}@{settings['port']}.service", app.processes)
        prober.mark("rollback")
        back = project.deploy("rollback", within=WITHIN)
        receipt = prober.stop()
    _answers(lab, name, app)
    assert second.last["outcome"] == reloaded.last["outcome"] == "succeeded"
    assert (reloaded.release, back.release) == (second.release, first)
    assert receipt.failed == 0, (name, receipt.causes, receipt.failures[:10])
    assert receipt.stale == 0, (name, receipt)
    assert receipt.requests / receipt.seconds >= RATE * 0.6, (name, receipt)
    print(f"{name}: {receipt.requests} requests, 0 failed, p99 {receipt.p99_ms} ms, at most {receipt.max_ms} ms")


def _answers(lab: Lab, name: str, app: App) -> None:
    """It is that app which answers, and not a page of an error."""
    request = urllib.request.Request(f"http://{lab.address}{app.path}", headers={"Host": f"{name}.test"})
    with urllib.request.urlopen(request, timeout=LATE) as answer:
        assert app.holds in answer.read().decode(), name


def _kill_a_worker(lab: Lab, host: str, unit: str, processes: int) -> None:
    """SIGKILL to one; its master and the others live on, and it is replaced."""
    master = _say(lab, host, f"systemctl show --property MainPID --value {unit}")
    workers = _workers(lab, host, master)
    assert len(workers) == processes, (unit, workers)
    gone, *others = sorted(workers)
    _say(lab, host, f"kill -KILL {gone}")

    def replaced() -> bool:
        now = _workers(lab, host, master)
        return gone not in now and len(now) == processes and set(others) <= now

    until(replaced, 60.0)
    assert _say(lab, host, f"systemctl show --property MainPID --value {unit}") == master


def _workers(lab: Lab, host: str, master: str) -> set[str]:
    """The processes under `master` that serve: not the tracker that Python's multiprocessing keeps beside them."""
    listed = _say(lab, host, f"ps --ppid {master} -o pid=,args=").splitlines()
    return {line.split()[0] for line in listed if "resource_tracker" not in line}


def _say(lab: Lab, host: str, script: str) -> str:
    done = lab.exec(host, ["sh", "-c", script])
    assert done.returncode == 0, (script, done.stdout[-500:], done.stderr[-500:])
    return str(done.stdout).strip()


def _pip(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "--quiet", *words], capture_output=True, text=True)
    assert done.returncode == 0, json.dumps(done.stderr[-1000:])
