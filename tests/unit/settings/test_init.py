"""`deploy init`: a few lines that load, and nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import SettingsError, UsageError
from deployer.inventory.load import load as load_inventory
from deployer.rollout.project import load as load_project
from deployer.settings.init import Asked, app_name, propose, write
from deployer.settings.load import load
from deployer.settings.scale import Size

FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"


def test_what_it_writes_loads_and_is_short(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop_2"
    folder.mkdir()
    (folder / "main.py").write_text(FASTAPI)
    (folder / "alembic.ini").write_text("")
    paths = tuple(write(folder).files)
    assert paths == (folder / "deploy.yaml", folder / "inventories" / "prod.yaml")
    settings = load(folder / "deploy.yaml", "prod", environ={}).settings
    assert settings.app == "my-shop-2"
    assert settings.python.with_ == ("uvicorn",)
    assert settings.hooks.release is not None and settings.hooks.release.command == "alembic upgrade head"
    assert len(paths[0].read_text().splitlines()) <= 6
    assert [host.ssh.user for host in load_inventory("prod", folder).hosts] == ["root"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "prod.yml").write_text("web: {hosts: {a: {}}}\n")
    assert list(propose(tmp_path).files) == [tmp_path / "deploy.yaml"]
    (tmp_path / "deploy.yaml").write_text("app: mine\n")
    with pytest.raises(SettingsError, match="already there"):
        write(tmp_path)
    assert (tmp_path / "deploy.yaml").read_text() == "app: mine\n"


def test_several_apps_are_an_error_that_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    (tmp_path / "app.py").write_text(FASTAPI)
    with pytest.raises(SettingsError) as caught:
        write(tmp_path)
    assert caught.value.hint == "deploy init --app 'main:app', or another of them"
    assert [line.split()[0] for line in caught.value.log] == ["main:app", "app:app"]
    assert not (tmp_path / "deploy.yaml").exists()
    write(tmp_path, asked=Asked(app="app:app"))
    assert load(tmp_path / "deploy.yaml", "prod", environ={}).settings.runtime.app == "app:app"


def test_a_folder_without_an_app_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no ASGI or WSGI app"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "project", "name"),
    [
        ("Shop", None, "shop"),
        ("x", "My.Web_App", "my-web-app"),
        ("2024-shop", None, "shop"),
        ("été", None, "ete"),
        ("___", None, "app"),
    ],
)
def test_the_name(tmp_path: Path, folder: str, project: str | None, name: str) -> None:
    path = tmp_path / folder
    path.mkdir()
    if project:
        (path / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    assert app_name(path) == name


def told(folder: Path, asked: Asked | None = None, **files: str) -> dict[str, tuple[str, str]]:
    """What `init` says of a project with these files: choice → (value, why)."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {reason.what: (reason.value, reason.why) for reason in propose(folder, asked=asked).reasons}


LITESTAR = (
    "from litestar import Litestar, get\n@get('/health')\nasync def health() -> str: ...\napp = Litestar([health])\n"
)
QUART = "from quart import Quart\napp = Quart(__name__)\n@app.websocket('/ws')\nasync def talk(): ...\n"
STARLETTE = "from starlette.applications import Starlette\napplication = Starlette()\n"
BOTTLE = "import bottle\napp = bottle.default_app()\n"
FALCON = "import falcon.asgi\napp = falcon.asgi.App()\n"
PYRAMID = "from pyramid.config import Configurator\ndef main(*_, **more):\n    return Configurator().make_wsgi_app()\n"
DJANGO = {
    "manage.py": "",
    "site1/__init__.py": "",
    "site1/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    "site1/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
}


@pytest.mark.parametrize(
    ("files", "app", "server", "words"),
    [
        ({"main.py": FASTAPI, "requirements.txt": "fastapi\n"}, "main:app", "uvicorn", "FastAPI is ASGI"),
        (
            {"srv/main.py": STARLETTE, "requirements.txt": "gunicorn"},
            "srv.main:application",
            "gunicorn-asgi",
            "gunicorn alone",
        ),
        ({"app.py": LITESTAR, "requirements.txt": "gunicorn\nuvicorn"}, "app:app", "gunicorn+uvicorn", "names both"),
        ({"main.py": QUART, "requirements.txt": "quart\n"}, "main:app", "uvicorn", "Quart is ASGI"),
        ({"main.py": BOTTLE, "requirements.txt": "bottle\n"}, "main:app", "gunicorn", "Bottle is WSGI"),
        ({"main.py": FALCON, "requirements.txt": "falcon\n"}, "main:app", "uvicorn", "Falcon is ASGI"),
        ({"web.py": PYRAMID, "requirements.txt": "pyramid\n"}, "web:main()", "gunicorn", "Pyramid is WSGI"),
        ({**DJANGO, "requirements.txt": "django\n"}, "site1.wsgi:application", "gunicorn", "Django is WSGI"),
        ({**DJANGO, "requirements.txt": "django\ndaphne\n"}, "site1.asgi:application", "uvicorn", "Django is ASGI"),
    ],
    ids=["fastapi", "starlette", "litestar", "quart", "bottle", "falcon", "pyramid", "django", "django-asgi"],
)
def test_the_server_and_why(tmp_path: Path, files: dict[str, str], app: str, server: str, words: str) -> None:
    found = told(tmp_path, **files)
    assert (found["app"][0], found["server"][0]) == (app, server)
    assert words in found["server"][1]
    assert f"({'site1/' if 'manage.py' in files else next(iter(files))}" in found["app"][1]


@pytest.mark.parametrize(
    ("code", "server", "words"),
    [
        (FASTAPI + "import numpy as np\n", "", "numpy in main.py:3 computes: workers: cpu"),
        (FASTAPI + "import httpx\n", "", "httpx in main.py:3 waits for others, and async code"),
        (
            "import flask, requests\napp = flask.Flask('x')\n",
            "",
            "requests in main.py:1 waits for others: worker_class",
        ),
        (FASTAPI, "", "nothing in the imports"),
    ],
)
def test_what_the_imports_say_of_workers(tmp_path: Path, code: str, server: str, words: str) -> None:
    value, why = told(tmp_path, **{"main.py": code})["workers"]
    assert value == "auto (2c+1)" and why.startswith(words)


@pytest.mark.parametrize(
    ("requirements", "words"),
    [("uvicorn", "1012"), ("gunicorn\nuvicorn", "1012"), ("gunicorn", "without a word")],
)
def test_websockets_and_what_becomes_of_them(tmp_path: Path, requirements: str, words: str) -> None:
    value, why = told(tmp_path, **{"main.py": QUART, "requirements.txt": requirements})["websockets"]
    assert value == "used in main.py:3" and words in why


def test_a_program_that_serves_by_itself_is_named_and_its_command_taken(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'dataset'\n[project.scripts]\ndataset = 'cli:main'\n")
    (tmp_path / "cli.py").write_text("import uvicorn\ndef main():\n    uvicorn.run(made().app(), port=8001)\n")
    with pytest.raises(SettingsError) as caught:
        propose(tmp_path)
    assert "uvicorn.run in cli.py:3" in caught.value.message and "--command" in str(caught.value.hint)
    assert caught.value.log == ("a command of the project: dataset",)
    write(tmp_path, asked=Asked(command="dataset serve: --port $PORT"))
    settings = load(tmp_path / "deploy.yaml", "prod", environ={}).settings
    assert settings.runtime.command == "dataset serve: --port $PORT"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(app="main"), "--app: 'main' is no app"),
        (Asked(app="main:nothing"), "has no nothing"),
        (Asked(command="serve $PORT", size="small"), "--scale is for an app"),
    ],
)
def test_words_that_make_no_sense(tmp_path: Path, asked: Asked, words: str) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    with pytest.raises(UsageError, match=words):
        write(tmp_path, asked=asked)
    assert not (tmp_path / "deploy.yaml").exists()


def test_nothing_of_the_app_is_imported(tmp_path: Path) -> None:
    told(
        tmp_path,
        **{"main.py": "raise SystemExit('imported')\n" + FASTAPI, "numpy.py": "raise SystemExit('imported')\n"},
    )


FLASK = "from flask import Flask\napp = Flask(__name__)\n"


@pytest.mark.parametrize(
    ("size", "code", "server", "workers", "instances", "hosts"),
    [
        ("small", FASTAPI, "uvicorn", 2, 1, (["web1.example.com"], [])),
        ("medium", FASTAPI, "gunicorn+uvicorn", 8, 1, (["web1.example.com"], ["web1.example.com"])),
        ("large", FASTAPI, "gunicorn+uvicorn", 4, 2, (["web1.example.com", "web2.example.com"], ["lb1.example.com"])),
        ("small", FLASK, "gunicorn", 2, 1, (["web1.example.com"], [])),
        ("medium", FLASK, "gunicorn", 8, 1, (["web1.example.com"], ["web1.example.com"])),
    ],
)
def test_a_size_is_a_project_that_renders(
    tmp_path: Path, size: Size, code: str, server: str, workers: int, instances: int, hosts: tuple[list[str], list[str]]
) -> None:
    (tmp_path / "main.py").write_text(code)
    made = write(tmp_path, asked=Asked(size=size))
    project = load_project("prod", start=tmp_path)
    topology = project.topology
    assert (project.inferred.server, topology.settings.runtime.workers) == (server, workers)
    assert project.inferred.missing == (), "python.with has what the server needs"
    assert (topology.settings.instances, topology.settings.app) == (instances, app_name(tmp_path))
    assert ([web.name for web in topology.web], [each.name for each in topology.balancers]) == hosts
    text = (tmp_path / "deploy.yaml").read_text()
    assert f"# {size}: " in text and "# today: guides " in text and all(f"# {line}" in text for line in made.remarks)
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= 6


def test_an_app_that_is_not_there_is_told_in_words_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    (tmp_path / "requirements.txt").write_text("datasette\nuvicorn\n")
    with pytest.raises(SettingsError, match="the app is to be mian:app, and there is no module mian") as caught:
        propose(tmp_path, asked=Asked(app="mian:app"))
    assert caught.value.hint and "did you mean main:app?" in caught.value.hint
    with pytest.raises(SettingsError, match="ASGI or a WSGI") as caught:
        propose(tmp_path, asked=Asked(app="datasette.app:app"))
    assert "write deploy.yaml yourself: app: " in str(caught.value.hint) and "add to" not in str(caught.value.hint)
