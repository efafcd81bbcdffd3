"""gunicorn's worker classes and the app's own gunicorn.conf.py: what does not fit is said before a host is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.errors import SettingsError
from deployer.settings.inference.infer import Inferred, infer
from deployer.settings.models import Settings

FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
SOCKETS = FASTAPI + "\n@app.websocket('/ws')\nasync def ws(socket): ...\n"
CLASS = {"worker_class": "uvicorn_worker.UvicornWorker"}
FLASK = "from flask import Flask\n\napp = Flask(__name__)\n"


def inferred(folder: Path, code: str, requirements: str, own: str = "", **runtime: Any) -> Inferred:
    (folder / "main.py").write_text(code)
    (folder / "requirements.txt").write_text(requirements)
    if own:
        (folder / "gunicorn.conf.py").write_text(own)
    return infer(folder, Settings.model_validate({"app": "shop", "runtime": runtime}))


@pytest.mark.parametrize(
    ("code", "requirements", "own", "runtime", "name", "missing"),
    [
        (FLASK, "gunicorn", "", {}, "sync", ()),
        (FLASK, "gunicorn", "", {"worker_class": "gthread"}, "gthread", ()),
        (FLASK, "gunicorn", "", {"worker_class": "gevent"}, "gevent", ("gevent",)),
        (FLASK, "gunicorn[gevent]", "", {"worker_class": "gevent"}, "gevent", ()),
        (FLASK, "gunicorn", "worker_class = 'gevent'\n", {}, "gevent", ("gevent",)),
        (FLASK, "gunicorn", "worker_class = 'gevent'\n", {"worker_class": "gthread"}, "gthread", ()),
        (FLASK, "gunicorn", "", {"worker_class": "tornado"}, "tornado", ("tornado",)),
        (FLASK, "gunicorn\ntornado", "", {"worker_class": "tornado"}, "tornado", ()),
        (FLASK, "gunicorn==25.3\neventlet", "", {"worker_class": "eventlet"}, "eventlet", ()),
        (
            FLASK,
            "gunicorn",
            "",
            {"worker_class": "gunicorn.workers.ggevent.GeventPyWSGIWorker"},
            "gunicorn.workers.ggevent.GeventPyWSGIWorker",
            ("gevent",),
        ),
        (FASTAPI, "gunicorn\nuvicorn\nuvicorn-worker", "", {}, "uvicorn_worker.UvicornWorker", ()),
        (FASTAPI, "gunicorn\nuvicorn", "", {}, "uvicorn_worker.UvicornWorker", ("uvicorn-worker",)),
        (FASTAPI, "gunicorn\nuvicorn==0.30.0", "", {}, "uvicorn_worker.UvicornWorker", ("uvicorn-worker",)),
        (FASTAPI, "gunicorn\nuvicorn==0.29.0", "", {}, "uvicorn.workers.UvicornWorker", ()),
        (FASTAPI, "gunicorn\nuvicorn~=0.29.0", "", {}, "uvicorn.workers.UvicornWorker", ()),
        (FASTAPI, "gunicorn\nuvicorn>=0.20,<0.30  # held", "", {}, "uvicorn.workers.UvicornWorker", ()),
        (FASTAPI, "gunicorn\nuvicorn~=0.29", "", {}, "uvicorn_worker.UvicornWorker", ("uvicorn-worker",)),
        (FASTAPI, "gunicorn\nuvicorn", "", {"worker_class": "shop.workers.Mine"}, "shop.workers.Mine", ()),
        (
            FASTAPI,
            "gunicorn\nuvicorn==0.29",
            "",
            {"worker_class": "uvicorn_worker.UvicornWorker"},
            "uvicorn_worker.UvicornWorker",
            ("uvicorn-worker",),
        ),
        (
            FASTAPI,
            "gunicorn\nuvicorn",
            "",
            {"worker_class": "uvicorn.workers.UvicornWorker"},
            "uvicorn.workers.UvicornWorker",
            (),
        ),
        (FASTAPI, "gunicorn", "", {}, "asgi", ()),
        (FASTAPI, "uvicorn", "", {}, "", ()),
    ],
)
def test_the_class_and_what_it_needs(
    tmp_path: Path, code: str, requirements: str, own: str, runtime: Any, name: str, missing: tuple[str, ...]
) -> None:
    found = inferred(tmp_path, code, requirements, own, **runtime)
    assert (found.workers.name, found.missing) == (name, missing)


def test_a_class_that_lacks_its_package_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, FLASK, "gunicorn", worker_class="gevent").require_server()
    assert (
        caught.value.message
        == "the server gunicorn with worker_class gevent needs gevent, which requirements.txt lacks"
    )
    assert "python: {with: [gevent]}" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("code", "requirements", "runtime", "said", "hint"),
    [
        (FLASK, "gunicorn\neventlet", {"worker_class": "eventlet"}, "gunicorn 26 removed it", "gunicorn<26"),
        (FLASK, "gunicorn", {"worker_class": "asgi"}, "serves ASGI apps", "gthread"),
        (FASTAPI, "gunicorn\nuvicorn-worker", {"worker_class": "sync"}, "does not run uvicorn", "worker_class"),
        (FASTAPI, "gunicorn", {"worker_class": "gthread"}, "gunicorn-asgi has a class of its own", "worker_class"),
        (FASTAPI, "gunicorn==23.0.0", {}, "came with gunicorn 24", "gunicorn>=24"),
        (FASTAPI, "uvicorn", {"server": "gunicorn"}, "it is an ASGI app", "write runtime: {server: gunicorn+uvicorn}"),
        (FLASK, "gunicorn", {"server": "uvicorn"}, "it is a WSGI app", "write runtime: {server: gunicorn}"),
        (FLASK, "gunicorn", {"server": "gunicorn+uvicorn"}, "it is a WSGI app", "write runtime: {server: gunicorn}"),
        (FASTAPI, "gunicorn", {"server": "gunicorn", **CLASS}, "it is an ASGI app", "server: gunicorn+uvicorn}, and"),
        (FLASK, "gunicorn", {"server": "gunicorn", **CLASS}, "this one is WSGI", "gthread"),
        (
            "app = make()\n",
            "gunicorn",
            {"server": "gunicorn", "app": "main:app", **CLASS},
            "the server gunicorn those that are WSGI",
            "write server: gunicorn+uvicorn",
        ),
        (FASTAPI, "uvicorn", {"worker_class": "gevent"}, "uvicorn has no worker classes", "worker_class"),
    ],
)
def test_a_class_that_cannot_be_is_refused(
    tmp_path: Path, code: str, requirements: str, runtime: Any, said: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, code, requirements, **runtime).require_server()
    assert said in caught.value.message and hint in str(caught.value.hint)


def test_an_asgi_class_in_the_apps_own_file_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, FLASK, "gunicorn", "\nworker_class = 'uvicorn.workers.UvicornWorker'\n").require_server()
    assert (caught.value.file, caught.value.line) == ("gunicorn.conf.py", 2)


def test_an_asgi_app_whose_own_file_has_the_class_needs_another_server(tmp_path: Path) -> None:
    own = "worker_class = 'uvicorn.workers.UvicornWorker'\n"
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, FASTAPI, "gunicorn\nuvicorn", own, server="gunicorn").require_server()
    assert "server: gunicorn+uvicorn" in str(caught.value.hint)


@pytest.mark.parametrize(("version", "warned"), [("", True), (">=0.30", True), ("==0.29.0", False)])
def test_uvicorns_former_class_is_warned_of_where_it_is_deprecated(tmp_path: Path, version: str, warned: bool) -> None:
    found = inferred(tmp_path, FASTAPI, f"gunicorn\nuvicorn{version}", worker_class="uvicorn.workers.UvicornWorker")
    found.require_server()
    assert any("deprecated since uvicorn 0.30" in line for line in found.warnings) == warned


def test_what_the_app_itself_refuses_of_eventlet_names_its_own_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, FLASK, "gunicorn\neventlet", "worker_class = 'eventlet'\n").require_server()
    assert (caught.value.file, caught.value.line) == ("gunicorn.conf.py", 1)


GUIDE = """\
import multiprocessing

bind = "0.0.0.0:8000"
workers = multiprocessing.cpu_count() * 2 + 1
worker_class = "uvicorn.workers.UvicornWorker"
timeout = 120
keepalive = 5
if True:
    preload_app = True
daemon = False
proc_name = "fastapi_app"
"""


def test_what_the_apps_own_file_cannot_decide_is_said_with_its_line(tmp_path: Path) -> None:
    found = inferred(tmp_path, FASTAPI, "gunicorn\nuvicorn-worker", GUIDE, timeout="60s", workers=3)
    found.require_server()
    said = [line.partition(" is left aside")[0] for line in found.warnings if "left aside" in line]
    assert said == [
        "gunicorn.conf.py:3: bind",
        "gunicorn.conf.py:4: workers",
        "gunicorn.conf.py:5: worker_class",
        "gunicorn.conf.py:6: timeout",
        "gunicorn.conf.py:7: keepalive",
        "gunicorn.conf.py:9: preload_app",
    ]


def test_a_file_that_only_tunes_is_left_in_peace(tmp_path: Path) -> None:
    own = "threads = 4\ntimeout = 90\naccesslog = None\nworker_class = 'gthread'\ndef post_fork(server, worker): ...\n"
    found = inferred(tmp_path, FLASK, "gunicorn", own)
    found.require_server()
    assert not [line for line in found.warnings if "gunicorn.conf.py" in line]


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ("x = 1\ncertfile = '/etc/cert.pem'\n", 2),
        ("proxy_protocol = True\n", 1),
        ("proxy_protocol = 'off'\nprotocol = 'uwsgi'\n", 2),
        ("protocol = 'http'\nuser = 'www-data'\n", 2),
    ],
)
def test_what_no_instance_could_serve_with_is_refused_with_its_line(tmp_path: Path, own: str, line: int) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, FLASK, "gunicorn", own).require_server()
    assert (caught.value.file, caught.value.line, caught.value.code) == ("gunicorn.conf.py", line, "gunicorn_file")


def test_a_file_that_is_no_python_is_found_here_and_not_on_a_host(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, FLASK, "gunicorn", "workers = 3\nbind = :8000\n")
    assert (caught.value.file, caught.value.line) == ("gunicorn.conf.py", 2)


def test_websockets_under_gunicorns_own_worker_are_warned_of(tmp_path: Path) -> None:
    assert any("without a close frame" in line for line in inferred(tmp_path, SOCKETS, "gunicorn").warnings)
