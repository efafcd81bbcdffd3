"""What is read from an app's code, told as projects that people have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import SettingsError
from deployer.settings.inference.app.modules import read_code
from deployer.settings.inference.app.sqlite import find_sqlite
from deployer.settings.inference.infer import AppTarget, Inferred, infer
from deployer.settings.init.init import propose
from deployer.settings.models import Settings

FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FLASK = "from flask import Flask\n\napp = Flask(__name__)\n"


def project(folder: Path, **files: str) -> Path:
    """Writes the files, by path."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def inferred(folder: Path, files: dict[str, str], **settings: Any) -> Inferred:
    return infer(project(folder, **files), Settings.model_validate({"app": "shop"} | settings))


ASGI, WSGI = AppTarget("main:app", "asgi"), AppTarget("main:app", "wsgi")
FLASK_FACTORY = "from flask import Flask\ndef create_app():\n    made = Flask('x')\n    return made\n"
TYPED_FACTORY = "from fastapi import FastAPI\ndef build() -> FastAPI:\n    ...\n"


@pytest.mark.parametrize(
    ("files", "target"),
    [
        ({"main.py": FASTAPI}, ASGI),
        ({"app.py": FLASK}, AppTarget("app:app", "wsgi")),
        ({"shop/__init__.py": "", "shop/main.py": FASTAPI}, AppTarget("shop.main:app", "asgi")),
        ({"shop/__init__.py": FLASK}, AppTarget("shop:app", "wsgi")),
        ({"web.py": "import fastapi as f\nthing: f.FastAPI = f.FastAPI()\n"}, AppTarget("web:thing", "asgi")),
        ({"main.py": "import falcon.asgi\napp = falcon.asgi.App()\n"}, ASGI),
        ({"main.py": "import falcon\napp = falcon.App()\n"}, WSGI),
        ({"main.py": "from quart import Quart\napp = Quart(__name__)\n"}, ASGI),
        ({"main.py": "from litestar import Litestar\napp = Litestar([])\n"}, ASGI),
        ({"main.py": "async def app(scope, receive, send):\n    pass\n"}, ASGI),
        ({"main.py": "class Own:\n    async def __call__(self, scope, receive, send): ...\napp = Own()\n"}, ASGI),
        ({"main.py": "class Own:\n    def __call__(self, environ, start_response): ...\napp = Own()\n"}, WSGI),
        ({"wsgi.py": "def application(environ, start_response): ...\n"}, AppTarget("wsgi:application", "wsgi")),
        ({"main.py": "class My(FastAPI): pass\nfrom fastapi import FastAPI\napp = My()\n"}, ASGI),
        ({"main.py": "try:\n    import flask\n    app = flask.Flask('x')\nfinally:\n    pass\n"}, WSGI),
        (
            {"shop/__init__.py": "", "shop/factory.py": FLASK_FACTORY},
            AppTarget("shop.factory:create_app", "wsgi", factory=True),
        ),
        (
            {
                "shop/__init__.py": "",
                "shop/core.py": TYPED_FACTORY,
                "main.py": "from shop.core import build\napp = build()\n",
            },
            ASGI,
        ),
        ({"shop/__init__.py": "", "shop/core.py": FASTAPI, "main.py": "from shop.core import app\n"}, ASGI),
        ({"main.py": FASTAPI + "api = FastAPI()\napp.mount('/api', api)\n"}, ASGI),
        ({"main.py": FASTAPI + "from admin import app as admin\napp.mount('/a', admin)\n", "admin.py": FASTAPI}, ASGI),
        ({"main.py": FASTAPI + "from whitenoise import WhiteNoise\napp = WhiteNoise(app)\n"}, ASGI),
        ({"main.py": FASTAPI, "tests/main.py": FASTAPI, "examples/app.py": FLASK}, ASGI),
        ({"main.py": FASTAPI, "venv/pyvenv.cfg": "", "venv/lib/app.py": FLASK, ".tox/app.py": FLASK}, ASGI),
        ({"main.py": FASTAPI, "worker.py": "from main import app\n" + FASTAPI.replace("app", "other")}, ASGI),
        ({"main.py": FASTAPI, "broken.py": "def (:\n", "latin.py": "\x00"}, ASGI),
    ],
)
def test_the_app_is_found(tmp_path: Path, files: dict[str, str], target: AppTarget) -> None:
    assert inferred(tmp_path, files).target == target


def test_an_app_below_another_is_not_the_one_to_serve(tmp_path: Path) -> None:
    files = {
        "main.py": FASTAPI + "from admin.main import app as admin\napp.mount('/admin', admin)\n",
        "admin/__init__.py": "",
        "admin/main.py": FASTAPI + "@app.get('/health')\ndef f(): ...\n",
    }
    found = inferred(tmp_path, files)
    assert (found.target, found.health_path) == (ASGI, None)


def test_nothing_is_imported(tmp_path: Path) -> None:
    inferred(tmp_path, {"main.py": "raise SystemExit('imported')\n" + FASTAPI})
    assert "main" not in sys.modules


def test_a_src_layout_is_named_from_src(tmp_path: Path) -> None:
    found = inferred(tmp_path, {"src/shop/__init__.py": "", "src/shop/main.py": FASTAPI})
    assert (found.target, found.pythonpath) == (AppTarget("shop.main:app", "asgi"), ("src",))


def test_a_folder_whose_modules_import_each_other_is_put_on_the_path(tmp_path: Path) -> None:
    found = inferred(tmp_path, {"backend/main.py": "import db\n" + FASTAPI, "backend/db.py": ""})
    assert (found.target, found.pythonpath) == (AppTarget("main:app", "asgi"), ("backend",))


def test_a_namespace_package_is_named_from_the_root(tmp_path: Path) -> None:
    found = inferred(tmp_path, {"shop/main.py": "from shop import db\n" + FASTAPI, "shop/db.py": ""})
    assert (found.target, found.pythonpath) == (AppTarget("shop.main:app", "asgi"), ())


@pytest.mark.parametrize(
    ("files", "path", "root"),
    [
        (
            {"src/py/app/__init__.py": "", "src/py/app/web/__init__.py": "", "src/py/app/web/asgi.py": FASTAPI,
             "src/py/app/cli.py": "from app.web import asgi\n", "src/js/build.py": ""},
            "app.web.asgi:app", "src/py",
        ),
        (
            {"backend/app/__init__.py": "", "backend/app/main.py": "from app.core import db\n" + FASTAPI,
             "backend/app/core/__init__.py": "", "backend/app/core/db.py": ""},
            "app.main:app", "backend",
        ),
        (
            {"backend/app/main.py": FASTAPI, "backend/app/db.py": "", "backend/app/worker.py": "import app.db\n"},
            "app.main:app", "backend",
        ),
        ({"backend/src/shop/__init__.py": "", "backend/src/shop/main.py": FASTAPI}, "shop.main:app", "backend/src"),
        ({"src/main.py": "from src import db\n" + FASTAPI, "src/db.py": ""}, "src.main:app", ""),
        (
            {"shop/manage.py": "", "shop/shop/__init__.py": "", "shop/shop/settings.py": "",
             "shop/shop/app.py": "from shop import settings\nimport shop.settings\n" + FASTAPI},
            "shop.app:app", "shop",
        ),
        ({"web/sub/main.py": "from . import db\n" + FASTAPI, "web/sub/db.py": ""}, "web.sub.main:app", ""),
    ],
)  # fmt: skip
def test_a_nested_layout_is_named_as_its_own_code_imports_it(
    tmp_path: Path, files: dict[str, str], path: str, root: str
) -> None:
    found = inferred(tmp_path, files)
    assert found.target is not None
    assert (found.target.path, found.pythonpath) == (path, (root,) if root else ())


def test_apps_of_one_name_below_several_folders_are_an_error_that_asks_for_the_folder(tmp_path: Path) -> None:
    one = {"app/main.py": "import app.db\n" + FASTAPI, "app/db.py": ""}
    files = {f"{service}/{name}": text for service in ("billing", "shop") for name, text in one.items()}
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, files)
    assert caught.value.hint == "add to deploy.yaml: source: {subdir: billing}"
    assert [line.split()[-1] for line in caught.value.log] == ["billing/app/main.py:4", "shop/app/main.py:4"]
    with pytest.raises(SettingsError, match="several apps"):
        inferred(tmp_path, files, runtime={"app": "app.main:app"})
    with pytest.raises(SettingsError) as of_init:
        propose(tmp_path)
    assert of_init.value.hint == "deploy init billing, or another of their folders"


DJANGO = {
    "manage.py": "",
    "site1/__init__.py": "",
    "site1/settings.py": "ROOT_URLCONF = 'site1.urls'\n",
    "site1/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
    "site1/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    "site1/urls.py": "from django.urls import path\nurlpatterns = [path('healthz/', f)]\n",
}
CHANNELS = "from channels.routing import get_default_application\napplication = get_default_application()\n"
ROUTING = "from channels.routing import ProtocolTypeRouter\napplication = ProtocolTypeRouter({})\n"
HANDLER = (
    "from django.core.handlers.asgi import ASGIHandler\n"
    "class Own(ASGIHandler): ...\n"
    "def get_asgi_application():\n    return Own()\n"
)
WRAPPED = (
    "from .handler import get_asgi_application\nfrom .cors import cors\n"
    "application = get_asgi_application()\napplication = cors(application, '*')\n"
)


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"site1/routing.py": ROUTING, "site1/asgi.py": CHANNELS}, "site1.asgi:application"),
        (
            {"site1/asgi/__init__.py": WRAPPED, "site1/asgi/handler.py": HANDLER,
             "site1/asgi/cors.py": "def cors(app, origin):\n    return app\n"},
            "site1.asgi:application",
        ),
    ],
)  # fmt: skip
def test_the_entry_of_channels_and_a_handler_of_the_projects_own(
    tmp_path: Path, files: dict[str, str], path: str
) -> None:
    found = inferred(tmp_path, {"site1/__init__.py": "", "requirements.txt": "channels\n", **files})
    assert found.target == AppTarget(path, "asgi")


def test_settings_with_a_command_of_the_project_itself_are_warned_of(tmp_path: Path) -> None:
    files = {"pyproject.toml": "[project]\nname = 'shop'\n[project.scripts]\nshop = 'shop.cli:main'\n"}
    found = inferred(
        tmp_path,
        files,
        runtime={"command": "shop serve $PORT"},
        processes={"worker": {"command": "shop work"}},
        hooks={"release": "shop migrate"},
    )
    own = [one.partition(":")[0] for one in found.warnings if "shop is a command of the project itself" in one]
    assert own == ["runtime.command", "processes.worker", "hooks.release"]
    settings = {"runtime": {"command": "shop serve $PORT"}, "python": {"with": ["shop==1.0"]}}
    assert not [one for one in inferred(tmp_path, files, **settings).warnings if "itself" in one]


@pytest.mark.parametrize(
    "files",
    [
        {"main.py": FASTAPI, "app.py": FLASK},
        {"a/__init__.py": "", "a/main.py": FASTAPI, "b/__init__.py": "", "b/main.py": FASTAPI},
        {"one.py": FASTAPI.replace("app", "x"), "two.py": FASTAPI.replace("app", "y")},
    ],
)
def test_several_apps_are_an_error_with_the_line_to_add(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, files)
    assert "several apps" in caught.value.message
    assert "runtime: {app: " in str(caught.value.hint)
    assert len(caught.value.log) == 2


def test_no_app_says_what_to_add_and_which_files_do_not_parse(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, {"main.py": "from fastapi import FastAPI\napp = FastAPI(\n"})
    assert "no ASGI or WSGI app" in caught.value.message
    assert "main.py:2" in caught.value.log[0]


def test_files_for_a_newer_python_are_said_in_one_line_with_that_reason(tmp_path: Path) -> None:
    newer = {f"f{number}.py": "class Box[[: ...\n" for number in range(9)}
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, newer)
    (line,) = caught.value.log
    assert "cannot parse newer syntax" in line and "f0.py:1" in line and line.endswith(" and 6 more")


@pytest.mark.parametrize(("requirements", "path"), [("django\n", "wsgi"), ("django\nuvicorn\n", "asgi")])
def test_an_asgi_function_in_djangos_asgi_py_is_djangos_too(tmp_path: Path, requirements: str, path: str) -> None:
    function = "async def application(scope, receive, send):\n    await made(scope, receive, send)\n"
    asgi = "from django.core.asgi import get_asgi_application\nmade = get_asgi_application()\n" + function
    found = inferred(tmp_path, {**DJANGO, "site1/asgi.py": asgi, "requirements.txt": requirements})
    assert found.target is not None and found.target.path == f"site1.{path}:application"


@pytest.mark.parametrize(
    ("requirements", "path", "server"),
    [
        ("django\ngunicorn\n", "site1.wsgi:application", "gunicorn"),
        ("django\nuvicorn[standard]\n", "site1.asgi:application", "uvicorn"),
        ("django\ngunicorn\nuvicorn-worker\n", "site1.asgi:application", "gunicorn+uvicorn"),
    ],
)
def test_django_is_served_as_its_requirements_tell(tmp_path: Path, requirements: str, path: str, server: str) -> None:
    found = inferred(tmp_path, DJANGO | {"requirements.txt": requirements})
    assert found.target is not None
    assert (found.target.path, found.server, found.missing) == (path, server, ())
    assert (found.framework, found.health_path) == ("Django", "/healthz/")


@pytest.mark.parametrize(
    ("code", "requirements", "server", "missing"),
    [
        (FASTAPI, "uvicorn", "uvicorn", ()),
        (FASTAPI, "fastapi[standard]", "uvicorn", ()),
        (FASTAPI, "gunicorn\nuvicorn\nuvicorn-worker", "gunicorn+uvicorn", ()),
        (FASTAPI, "gunicorn\nuvicorn", "gunicorn+uvicorn", ("uvicorn-worker",)),
        (FASTAPI, "gunicorn\nuvicorn-worker", "gunicorn+uvicorn", ()),
        (FASTAPI, "gunicorn", "gunicorn-asgi", ()),
        (FASTAPI, "fastapi", "uvicorn", ("uvicorn",)),
        (FLASK, "flask\nuvicorn", "gunicorn", ("gunicorn",)),
        (FLASK, "Gunicorn>=20 ; python_version > '3'\n# c", "gunicorn", ()),
        (FLASK, "-r more.txt", "gunicorn", ()),
    ],
)
def test_the_server(tmp_path: Path, code: str, requirements: str, server: str, missing: tuple[str, ...]) -> None:
    found = inferred(tmp_path, {"main.py": code, "requirements.txt": requirements, "more.txt": "gunicorn\n"})
    assert (found.server, found.missing) == (server, missing)


def test_a_missing_server_says_what_to_add(tmp_path: Path) -> None:
    files = {"main.py": FASTAPI, "requirements.txt": "fastapi\n"}
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, files).require_server()
    assert "requirements.txt lacks" in caught.value.message
    assert (caught.value.code, "python: {with: [uvicorn]}" in str(caught.value.hint)) == ("missing_server", True)
    inferred(tmp_path, files, python={"with": ["uvicorn>=0.30"]}).require_server()


UV_LOCK = """
[[package]]
name = "shop"
source = { virtual = "." }
dependencies = [{ name = "fastapi", extra = ["standard"] }]
[package.optional-dependencies]
prod = [{ name = "gunicorn" }]
[package.dev-dependencies]
dev = [{ name = "uvicorn-worker" }]
[[package]]
name = "fastapi"
dependencies = [{ name = "starlette" }]
[package.optional-dependencies]
standard = [{ name = "uvicorn" }]
[[package]]
name = "gunicorn"
[[package]]
name = "uvicorn"
[[package]]
name = "starlette"
"""


def test_a_uv_lock_counts_only_what_the_project_reaches(tmp_path: Path) -> None:
    files = {"main.py": FASTAPI, "uv.lock": UV_LOCK, "pyproject.toml": "[project]\nrequires-python = '>=3.11'\n"}
    found = inferred(tmp_path, files)
    assert (found.server, found.installer, found.requirements_file) == ("uvicorn", "uv", "uv.lock")
    assert (found.python_version, found.python_range) == (None, ">=3.11")
    assert inferred(tmp_path, files, python={"extras": ["prod"]}).server == "gunicorn+uvicorn"


@pytest.mark.parametrize(
    ("files", "installer", "file"),
    [
        ({"pylock.toml": '[[packages]]\nname = "uvicorn"\n'}, "auto", "pylock.toml"),
        ({"pyproject.toml": '[project]\ndependencies = ["uvicorn"]\n'}, "auto", "pyproject.toml"),
        ({"pyproject.toml": "[tool.ruff]\n", "requirements.txt": "uvicorn"}, "auto", "requirements.txt"),
    ],
)
def test_the_installer(tmp_path: Path, files: dict[str, str], installer: str, file: str) -> None:
    found = inferred(tmp_path, {"main.py": FASTAPI} | files)
    assert (found.installer, found.requirements_file, found.missing) == (installer, file, ())


@pytest.mark.parametrize(
    ("files", "file", "way"),
    [
        ({"pyproject.toml": '[tool.poetry.dependencies]\nuvicorn = "*"\n'}, "pyproject.toml", "poetry export"),
        ({"Pipfile": '[packages]\nfastapi = "*"\n'}, "Pipfile", "pipenv requirements >"),
    ],
)
def test_a_file_that_nothing_is_installed_from_is_said(
    tmp_path: Path, files: dict[str, str], file: str, way: str
) -> None:
    found = inferred(tmp_path, {"main.py": FASTAPI} | files)
    assert found.missing == () and any(file in warning and way in warning for warning in found.warnings)
    with pytest.raises(SettingsError, match="a push cannot install from") as caught:
        found.require_server()
    assert caught.value.file == file and way in str(caught.value.hint)
    inferred(tmp_path, files | {"requirements.txt": "fastapi\nuvicorn\n"}).require_server()
    (tmp_path / "requirements.txt").unlink()
    named = inferred(tmp_path, files, python={"installer": "pip", "with": ["fastapi", "uvicorn"]})
    named.require_server()


def test_a_gunicorn_file_of_another_name_is_said(tmp_path: Path) -> None:
    files = {"main.py": FASTAPI, "requirements.txt": "fastapi\ngunicorn\nuvicorn\nuvicorn-worker\n"}
    found = inferred(tmp_path, files | {"gunicorn_conf.py": "timeout = 7\n"})
    assert any("gunicorn_conf.py is not read" in warning for warning in found.warnings)


def test_the_python_version_of_the_project_is_read(tmp_path: Path) -> None:
    assert inferred(tmp_path, {"main.py": FASTAPI, ".python-version": "# pinned\n3.12\n"}).python_version == "3.12"


def test_broken_toml_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, {"main.py": FASTAPI, "pyproject.toml": "[project]\nname = \n"})
    assert (caught.value.file, caught.value.line) == ("pyproject.toml", 2)


ROUTER = "from fastapi import APIRouter\nrouter = APIRouter({own})\n@router.get('/health')\ndef f(): ...\n"
INCLUDE = FASTAPI + "import r\napp.include_router(r.router{at})\n"


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"main.py": FASTAPI + "@app.get('/healthz')\ndef f(): ...\n"}, "/healthz"),
        ({"main.py": FASTAPI + "@app.get('/ping')\ndef f(): ...\n@app.get('/health')\ndef g(): ...\n"}, "/health"),
        ({"main.py": FASTAPI + "@app.post('/health')\ndef f(): ...\n"}, None),
        ({"main.py": FASTAPI + "@app.get('/items')\ndef f(): ...\n"}, None),
        ({"main.py": FLASK + "@app.route('/up')\ndef f(): ...\n"}, "/up"),
        ({"main.py": FLASK + "app.add_url_rule('/livez', view_func=f)\n"}, "/livez"),
        (
            {"main.py": "from starlette.applications import Starlette\nfrom starlette.routing import Route\n"
             "app = Starlette(routes=[Route('/readyz', f)])\n"}, "/readyz",
        ),
        ({"r.py": ROUTER.format(own=""), "main.py": INCLUDE.format(at="")}, "/health"),
        ({"r.py": ROUTER.format(own="prefix='/api'"), "main.py": INCLUDE.format(at="")}, "/api/health"),
        ({"r.py": ROUTER.format(own=""), "main.py": INCLUDE.format(at=", prefix='/v1'")}, "/v1/health"),
        ({"r.py": ROUTER.format(own=""), "main.py": INCLUDE.format(at=", prefix=PREFIX")}, None),
        ({"r.py": ROUTER.format(own=""), "main.py": FASTAPI}, None),
        ({"main.py": "from fastapi import FastAPI\ndef create_app():\n    app = FastAPI()\n"
          "    @app.get('/healthz')\n    def f(): ...\n    return app\n"}, "/healthz"),
    ],
)  # fmt: skip
def test_the_health_path_is_certainly_served(tmp_path: Path, files: dict[str, str], path: str | None) -> None:
    (tmp_path / "requirements.txt").write_text("uvicorn\ngunicorn\n")
    found = inferred(tmp_path, files)
    assert found.health_path == path
    assert bool(found.warnings) == (path is None)


def test_the_settings_win_and_are_not_called_inferred(tmp_path: Path) -> None:
    found = inferred(
        tmp_path,
        {"main.py": FASTAPI, "other.py": FLASK, "requirements.txt": "gunicorn"},
        runtime={"app": "other:app", "server": "gunicorn"},
        health={"path": "/h"},
        python={"version": "3.12", "installer": "pip"},
    )
    assert found.target == AppTarget("other:app", "wsgi")
    assert (found.health_path, found.python_version, found.installer, found.reasons) == ("/h", "3.12", "pip", ())


def test_an_app_that_the_named_module_lacks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, {"main.py": FASTAPI}, runtime={"app": "main:ap"})
    assert (caught.value.message, caught.value.hint) == (
        "runtime.app is main:ap, and main.py has no ap",
        "did you mean main:app?",
    )


PACKAGE = {"shop/__init__.py": "", "shop/main.py": FASTAPI, "shop/fast.pyx": "", "shop/broken.py": "def"}


@pytest.mark.parametrize(
    ("app", "server", "said"),
    [
        ("nomod:app", "auto", "the apps there are shop.main:app (for an app of an installed package"),
        ("shop.mian:app", "auto", "did you mean shop.main:app?"),
        ("shop.mian:app", "uvicorn", "did you mean shop.main:app?"),
        ("mian:app", "auto", "did you mean main:app?"),
    ],
)
def test_an_app_of_a_module_that_is_not_there_is_told_so(tmp_path: Path, app: str, server: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        files = {"main.py": FASTAPI} if app == "mian:app" else PACKAGE
        inferred(tmp_path, files, runtime={"app": app, "server": server})
    name = app.partition(":")[0]
    assert caught.value.message == f"runtime.app is {app}, but the code has no module {name}"
    assert said in str(caught.value.hint)


@pytest.mark.parametrize("app", ["nomod:app", "shop.fast:app", "shop.broken:app", "datasette.app:app"])
def test_an_app_that_may_be_there_once_it_is_installed_is_judged_by_its_server(tmp_path: Path, app: str) -> None:
    files = {**PACKAGE, "requirements.txt": "Datasette\n"}
    found = inferred(tmp_path, files, runtime={"app": app, "server": "uvicorn"})
    assert found.target == AppTarget(app, "asgi")
    assert any("no module nomod" in line for line in found.warnings) == app.startswith("nomod")
    if app == "datasette.app:app":
        with pytest.raises(SettingsError, match="ASGI or a WSGI"):
            inferred(tmp_path, files, runtime={"app": app})


def test_an_app_in_an_installed_package_is_judged_by_its_server(tmp_path: Path) -> None:
    found = inferred(tmp_path, {"x.py": ""}, runtime={"app": "pkg.web:make()", "server": "uvicorn"})
    assert found.target == AppTarget("pkg.web:make", "asgi", factory=True)
    with pytest.raises(SettingsError, match="ASGI or a WSGI"):
        inferred(tmp_path, {"x.py": "", "requirements.txt": "pkg"}, runtime={"app": "pkg.web:app"})


def test_a_command_needs_no_app(tmp_path: Path) -> None:
    found = inferred(tmp_path, {"x.py": ""}, runtime={"server": "command", "command": "hypercorn x -b :$PORT"})
    assert (found.target, found.server, found.missing) == (None, "command", ())


def test_websockets_without_their_package_are_warned_of(tmp_path: Path) -> None:
    code = FASTAPI + "@app.websocket('/ws')\nasync def f(ws): ...\n"
    found = inferred(tmp_path, {"main.py": code, "requirements.txt": "uvicorn"}, health={"path": "/"})
    assert found.websockets and "main.py:4" in found.warnings[0]
    assert not inferred(
        tmp_path, {"main.py": code, "requirements.txt": "uvicorn[standard]"}, health={"path": "/"}
    ).warnings


def test_every_inferred_value_has_its_reason(tmp_path: Path) -> None:
    found = inferred(
        tmp_path, {"main.py": FASTAPI + "@app.get('/healthz')\ndef f(): ...\n", "requirements.txt": "uvicorn"}
    )
    told = {reason.what: (reason.value, reason.why) for reason in found.reasons}
    assert told["runtime.app"] == ("main:app", "the only app in the code (main.py:3)")
    assert told["health.path"] == ("/healthz", "routed in main.py:4")
    assert set(told) == {"runtime.app", "runtime.server", "health.path", "python.installer"}


@pytest.mark.parametrize(
    ("code", "where"),
    [
        ('DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3"}}\n', "main.py:1"),
        ('import sqlalchemy\nengine = sqlalchemy.create_engine("sqlite:///./shop.db")\n', "main.py:2"),
        ('import sqlite3 as db\nconnection = db.connect("shop.db")\n', "main.py:2"),
        ('import sqlite3\nconnection = sqlite3.connect(":memory:")\n', ""),
        ('import sqlalchemy\nengine = sqlalchemy.create_engine("sqlite:///:memory:")\n', ""),
        ('import psycopg\nconnection = psycopg.connect("shop.db")\n', ""),
    ],
)
def test_a_database_file_of_sqlite_is_found_in_the_code(tmp_path: Path, code: str, where: str) -> None:
    (tmp_path / "main.py").write_text(code)
    assert find_sqlite(read_code(tmp_path), tmp_path) == where


def test_a_database_file_of_sqlite_is_found_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DEBUG=1\nDATABASE_URL=sqlite:///shop.db\n")
    assert find_sqlite(read_code(tmp_path), tmp_path) == ".env:2"
