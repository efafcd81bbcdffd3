"""`deploy init`: a few lines that load, and nothing overwritten."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from deployer.errors import SettingsError, UsageError
from deployer.inventory.load import load as load_inventory
from deployer.rollout.run.project import load as load_project
from deployer.settings.init.init import app_name, propose, write
from deployer.settings.init.runtime import InitOptions
from deployer.settings.init.size_presets import Size
from deployer.settings.load import load

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
    write(tmp_path, options=InitOptions(app="app:app"))
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


def told(folder: Path, asked: InitOptions | None = None, /, **files: str) -> dict[str, tuple[str, str]]:
    """What `init` says of a project with these files: choice → (value, why)."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {reason.what: (reason.value, reason.why) for reason in propose(folder, options=asked).reasons}


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
    [("uvicorn", "1012"), ("gunicorn\nuvicorn", "1012"), ("gunicorn", "without a close frame")],
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
    write(tmp_path, options=InitOptions(command="other serve: --port $PORT"))
    settings = load(tmp_path / "deploy.yaml", "prod", environ={}).settings
    assert settings.runtime.command == "other serve: --port $PORT"


OWN = {
    "pyproject.toml": (
        "[project]\nname = 'dataset'\ndependencies = ['uvicorn']\n[project.scripts]\ndataset = 'dataset.cli:main'\n"
    ),
    "dataset/__init__.py": "",
    "dataset/cli.py": "import uvicorn\ndef main():\n    uvicorn.run(made().app(), port=8001)\n",
}


@pytest.mark.parametrize(
    ("more", "way"),
    [
        ({"dataset/__main__.py": "from dataset.cli import main\nmain()\n"}, "python -m dataset"),
        (
            {"dataset/cli.py": OWN["dataset/cli.py"] + "if __name__ == '__main__':\n    main()\n"},
            "python -m dataset.cli",
        ),
        ({}, "python -c 'import sys; from dataset.cli import main; sys.exit(main())'"),
    ],
)
def test_a_command_of_the_project_itself_is_not_on_hosts_and_what_is_is_said(
    tmp_path: Path, more: dict[str, str], way: str
) -> None:
    with pytest.raises(SettingsError) as none:
        told(tmp_path, **{**OWN, **more})
    assert none.value.log == (f"the project's own command dataset is on hosts: {way}",)
    with pytest.raises(SettingsError, match="but a push installs only the project's dependencies") as refused:
        propose(tmp_path, options=InitOptions(command=".venv/bin/dataset serve -p $PORT"))
    assert refused.value.hint == f"deploy init --command {shlex.quote(way + ' serve -p $PORT')}"
    write(tmp_path, options=InitOptions(command=f"{way} serve -p $PORT"))
    assert load(tmp_path / "deploy.yaml", "prod", environ={}).settings.runtime.command == f"{way} serve -p $PORT"


def test_own_commands_of_a_procfile_are_written_as_hosts_have_them(tmp_path: Path) -> None:
    procfile = "web: dataset serve -p $PORT\nworker: A=1 dataset work\nrelease: dataset migrate\n"
    more = {"dataset/__main__.py": "from dataset.cli import main\nmain()\n", "Procfile": procfile}
    found = told(tmp_path, **{**OWN, **more})
    assert found["hooks.release"][0] == "python -m dataset migrate"
    assert found["processes.worker"][0] == "env A=1 python -m dataset work"
    made = write(tmp_path)
    settings = load(tmp_path / "deploy.yaml", "prod", environ={}).settings
    assert settings.runtime.command == "python -m dataset serve -p $PORT"
    assert len([remark for remark in made.remarks if "is a command of the project itself" in remark]) == 3
    assert not [one for one in load_project("prod", start=tmp_path).inferred.warnings if "of the project itself" in one]


def test_a_dependencys_command_may_be_what_serves(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("dataset\n")
    write(tmp_path, options=InitOptions(command="dataset serve -p $PORT"))
    project = load_project("prod", start=tmp_path)
    assert not [one for one in project.inferred.warnings if "dataset" in one]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (InitOptions(app="main"), "--app: 'main' is not a valid app"),
        (InitOptions(app="main:nothing"), "has no nothing"),
        (InitOptions(command="serve $PORT", size="small"), "--scale is for an app"),
        (InitOptions(command="serve --port 80"), "does not use \\$PORT"),
        (InitOptions(command="serve --port $PORTS"), "does not use \\$PORT"),
    ],
)
def test_words_that_make_no_sense(tmp_path: Path, asked: InitOptions, words: str) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    with pytest.raises(UsageError, match=words):
        write(tmp_path, options=asked)
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
    made = write(tmp_path, options=InitOptions(size=size))
    project = load_project("prod", start=tmp_path)
    topology = project.topology
    assert (project.inferred.server, topology.settings.runtime.workers) == (server, workers)
    assert project.inferred.missing == (), "python.with has what the server needs"
    assert (topology.settings.instances, topology.settings.app) == (instances, app_name(tmp_path))
    assert ([web.name for web in topology.web], [each.name for each in topology.balancers]) == hosts
    text = (tmp_path / "deploy.yaml").read_text()
    assert f"# {size}: " in text and "# today: guides " in text and all(f"# {line}" in text for line in made.remarks)
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= 6


FLASK_MANAGE = "from shop import cli\ncli.main()\n"
DJANGO_MANAGE = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')\n"


@pytest.mark.parametrize(
    ("manage", "hook"), [(DJANGO_MANAGE, "python manage.py migrate --no-input"), (FLASK_MANAGE, None)]
)
def test_a_migration_is_proposed_for_the_manage_of_django_alone(tmp_path: Path, manage: str, hook: str | None) -> None:
    found = told(tmp_path, **{**DJANGO, "manage.py": manage})
    assert found.get("hooks.release", (None,))[0] == hook
    text = propose(tmp_path).files[tmp_path / "deploy.yaml"]
    assert ("hooks:" in text) == (hook is not None)


def test_hooks_processes_and_what_the_procfile_leaves_to_a_person_are_said(tmp_path: Path) -> None:
    procfile = "release: ./migrate\nbeat: celery -A shop beat\nworker: cat jobs | consume\n"
    found = told(tmp_path, **{"main.py": FASTAPI, "Procfile": procfile})
    assert found["hooks.release"] == ("./migrate", "as in the Procfile; once, before the first wave")
    command, why = found["processes.beat"]
    assert command == "celery -A shop beat" and "singleton" in why
    (remark,) = propose(tmp_path).remarks
    assert remark.startswith("Procfile: worker is more than one program")


APP_FILES = {"app/main.py": "import app.db\n" + FASTAPI, "app/db.py": "", "alembic.ini": ""}


@pytest.mark.parametrize(
    ("file", "text", "missing"),
    [
        ("requirements.txt", "fastapi\nuvicorn\n", ()),
        ("pyproject.toml", "[project]\nname = 'x'\ndependencies = ['fastapi']\n", ("uvicorn",)),
        ("pyproject.toml", "[tool.poetry.dependencies]\nfastapi = '1'\n", ()),
    ],
)
@pytest.mark.parametrize("asked", [None, InitOptions(app="app.main:app")])
def test_an_app_in_a_part_of_the_repository_is_shipped_from_there_with_its_dependencies(
    tmp_path: Path, file: str, text: str, missing: tuple[str, ...], asked: InitOptions | None
) -> None:
    found = told(tmp_path, asked, **{f"backend/{name}": content for name, content in {**APP_FILES, file: text}.items()})
    value, why = found["source.subdir"]
    assert value == "backend" and file in why
    assert found["app"][0] == "app.main:app"
    assert found["hooks.release"][0] == "alembic upgrade head"
    write(tmp_path, options=asked)
    loaded = load(tmp_path / "deploy.yaml", "prod", environ={})
    assert loaded.folder == tmp_path / "backend" and loaded.settings.python.with_ == missing
    project = load_project("prod", start=tmp_path)
    assert project.inferred.target is not None and project.inferred.target.path == "app.main:app"
    assert project.inferred.pythonpath == ()


@pytest.mark.parametrize(
    ("code", "outside"),
    [
        ("from common import db\n", "shop/main.py imports common"),
        ("import shop.db\n", "shop/main.py imports shop"),
        ("from . import db\n", "shop/main.py imports .db"),
        ("from ..common import db\n", "shop/main.py imports ..common"),
        ("import db, alembic.op\n", ""),
    ],
)
def test_a_part_that_imports_from_the_rest_of_the_repository_is_not_shipped_alone(
    tmp_path: Path, code: str, outside: str
) -> None:
    files = {"shop/main.py": code + FASTAPI, "shop/db.py": "", "shop/requirements.txt": "fastapi\n"}
    found = told(tmp_path, **files, **{"common/__init__.py": "", "common/db.py": "", "alembic/env.py": ""})
    remarks = propose(tmp_path).remarks
    assert ("source.subdir" in found) == (not outside) == (not remarks)
    if outside:
        assert (
            f"since {outside} from outside shop: write a requirements.txt here, with -r shop/requirements.txt"
            in remarks[0]
        )
        assert "shop" in found["app"][0] and f"# {remarks[0]}\n" in propose(tmp_path).files[tmp_path / "deploy.yaml"]


def test_several_apps_that_have_dependencies_of_their_own_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    services = {f"{name}/{name}.py": FASTAPI for name in ("billing", "shop")}
    with pytest.raises(SettingsError) as at_the_root:
        told(tmp_path, **services)
    assert at_the_root.value.hint == "deploy init --app 'billing.billing:app', or another of them"
    with pytest.raises(SettingsError) as apart:
        told(tmp_path, **{f"{name}/requirements.txt": "fastapi\n" for name in ("billing", "shop")})
    assert apart.value.hint == "deploy init billing, or another of their folders"
    assert told(tmp_path / "shop")["app"][0] == "shop:app"


def test_the_app_that_a_procfile_at_the_root_names_is_named_within_its_part(tmp_path: Path) -> None:
    files = {"shop/main.py": FASTAPI, "shop/requirements.txt": "fastapi\nuvicorn\n"}
    web = "web: uvicorn shop.main:app --port $PORT --workers 3\n"
    assert told(tmp_path, **files, Procfile=web)["app"][0] == "main:app"
    text = propose(tmp_path).files[tmp_path / "deploy.yaml"]
    assert "source: {subdir: shop}" in text and "app: main:app, workers: 3" in text


def test_dependencies_at_the_root_keep_the_whole_of_it(tmp_path: Path) -> None:
    files = {"requirements.txt": "fastapi\n", **{f"backend/{name}": text for name, text in APP_FILES.items()}}
    found = told(tmp_path, **files, **{"backend/requirements.txt": "fastapi\n"})
    assert "source.subdir" not in found and found["dependencies"][0] == "requirements.txt"


def test_that_nothing_will_be_installed_is_said(tmp_path: Path) -> None:
    value, why = told(tmp_path, **{"main.py": FASTAPI, "requirements/base.txt": "fastapi\n"})["dependencies"]
    assert value == "none" and "installs nothing that the app imports" in why
    assert "requirements/base.txt is not read by itself" in why


POETRY = "[tool.poetry.dependencies]\nfastapi = '1'\n"


@pytest.mark.parametrize(
    ("file", "text", "way"),
    [
        ("pyproject.toml", POETRY, "poetry export -f requirements.txt -o requirements.txt (with Poetry 2 first: "),
        ("Pipfile", "[packages]\nfastapi = '*'\n", "pipenv requirements > requirements.txt"),
    ],
)
def test_what_a_push_cannot_install_from_is_said_with_what_to_type_first(
    tmp_path: Path, file: str, text: str, way: str
) -> None:
    value, why = told(tmp_path, **{"main.py": FASTAPI, file: text})["dependencies"]
    assert value == "none" and file in why and "is refused" in why
    made = write(tmp_path)
    assert made.first is not None and made.first.startswith(way)
    with pytest.raises(SettingsError) as refused:
        load_project("prod", start=tmp_path).inferred.require_server()
    assert made.first in str(refused.value.hint)


def test_what_to_type_first_is_typed_in_the_part_of_the_repository(tmp_path: Path) -> None:
    told(tmp_path, **{"shop/main.py": FASTAPI, "shop/Pipfile": ""})
    assert propose(tmp_path).first == "cd shop && pipenv requirements > requirements.txt"


@pytest.mark.parametrize(
    ("files", "hook"),
    [
        ({}, "python manage.py collectstatic --no-input"),
        ({"site1/settings.py": "STATIC_URL = '/static/'\n"}, None),
        ({"requirements.txt": "django\n"}, None),
        ({"manage.py": FLASK_MANAGE}, None),
        ({"Procfile": "release: ./manage.py collectstatic -c\n"}, "./manage.py collectstatic -c"),
    ],
)
def test_what_whitenoise_serves_is_collected_on_every_host(
    tmp_path: Path, files: dict[str, str], hook: str | None
) -> None:
    whole = {
        **DJANGO,
        "manage.py": DJANGO_MANAGE,
        "requirements.txt": "django\nwhitenoise\n",
        "site1/settings.py": "STATIC_ROOT = 'static'\n",
        **files,
    }
    found = told(tmp_path, **whole)
    assert found.get("hooks.prepare", (None,))[0] == hook
    write(tmp_path)
    hooks = load(tmp_path / "deploy.yaml", "prod", environ={}).settings.hooks
    assert (hooks.prepare.command if hooks.prepare else None) == hook


@pytest.mark.parametrize(
    ("written", "value", "words"),
    [
        ("3.12.4\n", "3.12.4", ".python-version"),
        ("# ours\npypy3.10\n", "the host's own", "says pypy3.10, which is ignored: only CPython versions"),
        ("system\n", "the host's own", "says system, which is ignored"),
    ],
)
def test_a_python_version_that_does_not_count_is_said(tmp_path: Path, written: str, value: str, words: str) -> None:
    found = told(tmp_path, **{"main.py": FASTAPI, ".python-version": written})
    assert found["python"][0] == value and words in found["python"][1]


@pytest.mark.parametrize(
    ("name", "words"), [("nofolder", "there is no such folder"), ("file", "is a file, not the folder")]
)
def test_what_is_no_folder_is_said_so(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=words) as caught:
        write(tmp_path / name)
    assert name in caught.value.message and not (tmp_path / "nofolder").exists()


def test_who_named_the_app_and_the_workers_is_said_as_it_was(tmp_path: Path) -> None:
    files = {"shop.py": "from made import app\n", "requirements.txt": "flask\ngunicorn\n"}
    by_web = told(tmp_path, **files, Procfile="web: gunicorn shop:app --workers 3\n")
    assert by_web["app"] == ("shop:app", "WSGI: as the Procfile names it")
    assert by_web["workers"] == ("3", "as the Procfile has it")
    assert by_web["server"] == ("gunicorn", "as the Procfile has it")
    assert told(tmp_path, InitOptions(app="shop:app"))["app"] == ("shop:app", "WSGI: as you named it")


def test_what_of_the_apps_own_gunicorn_file_does_not_count_is_said(tmp_path: Path) -> None:
    files = {
        "shop.py": FLASK,
        "requirements.txt": "flask\ngunicorn\n",
        "gunicorn.conf.py": "threads = 4\nbind = ':1'\n",
    }
    told(tmp_path, **files)
    (remark,) = propose(tmp_path).remarks
    assert remark.startswith("gunicorn.conf.py:2: bind is left aside: ")
    assert not propose(tmp_path, options=InitOptions(command="serve $PORT")).remarks


def test_an_app_that_is_not_there_is_told_in_words_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    (tmp_path / "requirements.txt").write_text("datasette\nuvicorn\n")
    with pytest.raises(SettingsError, match="the app is to be mian:app, but the code has no module mian") as caught:
        propose(tmp_path, options=InitOptions(app="mian:app"))
    assert caught.value.hint and "did you mean main:app?" in caught.value.hint
    with pytest.raises(SettingsError, match="ASGI or a WSGI") as caught:
        propose(tmp_path, options=InitOptions(app="datasette.app:app"))
    assert "write deploy.yaml yourself: app: " in str(caught.value.hint) and "add to" not in str(caught.value.hint)
