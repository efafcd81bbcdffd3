"""The Dockerfile that `deploy render --dockerfile` writes: what a push would do, in a builder's words."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployer.cli.app import app

FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/healthz')\ndef f(): ...\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"
PROJECT = (
    "[project]\nname = 'shop'\nversion = '1'\nrequires-python = '{python}'\ndependencies = ['fastapi', 'uvicorn']\n"
)
LOCK = """version = 1
[[package]]
name = "shop"
source = { virtual = "." }
dependencies = [{ name = "uvicorn" }]
[[package]]
name = "uvicorn"
version = "1"
"""


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes files and settings, renders, and returns the Dockerfile and what the command came to."""
    monkeypatch.chdir(tmp_path)

    def run(settings: str = "", **files: str) -> tuple[str, Any]:
        (tmp_path / "inventories").mkdir()
        (tmp_path / "inventories" / "prod.yaml").write_text("web: {hosts: {web1.example.com: {}}}\n")
        (tmp_path / "deploy.yaml").write_text("app: shop\n" + settings)
        for name, text in {"main.py": FASTAPI, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        result = CliRunner().invoke(app, ["render", "prod", "--out", "out", "--dockerfile"])
        drawn = tmp_path / "out" / "Dockerfile"
        return drawn.read_text() if drawn.exists() else "", result

    return run


def instruction(text: str, name: str, place: int = -1) -> str:
    """What follows one instruction, the last of its name by default."""
    joined = text.replace("\\\n", " ")
    return [line[len(name) + 1 :] for line in joined.splitlines() if line.startswith(name + " ")][place]


@pytest.mark.parametrize(
    ("files", "settings", "copied", "installs"),
    [
        ({"requirements.txt": "uvicorn\n"}, "", ["requirements.txt"], "pip install -r requirements.txt"),
        (
            {
                "requirements.txt": "-r more/base.txt\n-c limits.txt\n",
                "more/base.txt": "uvicorn\n",
                "limits.txt": "a<2\n",
            },
            "",
            ["limits.txt", "more/base.txt", "requirements.txt"],
            "pip install -r requirements.txt",
        ),
        (
            {"requirements.txt": "fastapi\n"},
            "python: {with: ['uvicorn>=0.30']}\n",
            ["requirements.txt"],
            "pip install -r requirements.txt 'uvicorn>=0.30'",
        ),
        (
            {
                "requirements.txt": "--extra-index-url https://i.example/\nuvicorn\n-e .\n",
                "pyproject.toml": PROJECT.format(python=">=3.11"),
            },
            "",
            [],
            "pip install --extra-index-url https://i.example/ uvicorn fastapi uvicorn",
        ),
        (
            {"requirements.txt": "uvicorn==1 --hash=sha256:00\n"},
            "python: {with: [websockets]}\n",
            ["requirements.txt"],
            "pip install -r requirements.txt && .venv/bin/python -m pip install websockets",
        ),
        (
            {"pyproject.toml": PROJECT.format(python=">=3.11") + "[project.optional-dependencies]\nprod = ['a']\n"},
            "python: {extras: [prod]}\n",
            ["pyproject.toml"],
            "uv pip install --python .venv/bin/python -r pyproject.toml --extra prod",
        ),
        (
            {"uv.lock": LOCK, "pyproject.toml": PROJECT.format(python=">=3.11")},
            "python: {with: [websockets]}\n",
            ["pyproject.toml", "uv.lock"],
            "uv sync --frozen --no-default-groups --no-install-project --no-install-workspace "
            "&& /opt/uv/bin/uv pip install --python .venv/bin/python websockets",
        ),
        (
            {"pylock.toml": "[[packages]]\nname = 'uvicorn'\nversion = '1'\n"},
            "",
            ["pylock.toml"],
            "uv pip install --python .venv/bin/python -r pylock.toml",
        ),
    ],
)
def test_dependencies_come_from_what_a_push_reads(
    render: Any, files: dict[str, str], settings: str, copied: list[str], installs: str
) -> None:
    text, result = render(settings, **files)
    assert result.exit_code == 0, result.output
    stage = text.partition("AS dependencies")[2].partition("FROM base\n")[0]
    found = [json.loads(line[5:])[0] for line in stage.splitlines() if line.startswith("COPY [")]
    assert found == copied
    assert " ".join(instruction(stage, "RUN").split()).endswith(installs)
    assert ("uv==" in stage) == ("uv" in installs.split("install")[0])


def test_the_command_is_the_releases_own(render: Any, tmp_path: Path) -> None:
    text, _ = render("runtime: {workers: 3, graceful_timeout: 20s}\nport: 8010\n", **{"requirements.txt": "uvicorn\n"})
    run = next((tmp_path / "out").glob("web1*/srv/shop/releases/RELEASE/run")).read_text()
    own = shlex.split(run.splitlines()[-1].removeprefix("exec "))[:-1]
    words = json.loads(instruction(text, "CMD"))
    assert words == ["/srv/shop/.venv/bin/python", *[word.replace("$PORT", "8010") for word in own[1:]]]
    assert words[8:12] == ["--workers", "3", "--timeout-graceful-shutdown", "20"]
    assert "--stop-timeout 30 -p 8010:8010" in text
    assert [instruction(text, name) for name in ("STOPSIGNAL", "USER", "EXPOSE")] == ["SIGTERM", "10001:10001", "8010"]


def test_gunicorns_config_is_in_it_to_the_letter(render: Any, tmp_path: Path) -> None:
    text, _ = render("", **{"main.py": FLASK, "requirements.txt": "flask\ngunicorn\n"})
    own = next((tmp_path / "out").glob("web1*/srv/shop/releases/RELEASE/.deploy-gunicorn.conf.py")).read_text()
    step = text.partition("RUN printf '%s\\n' \\\n")[2].partition("    > .deploy-gunicorn.conf.py")[0]
    written = "\n".join(shlex.split(step.replace("\\\n", "\n"))) + "\n"
    assert written == own.replace("os.environ[\"DEPLOY_RELEASE\"] = 'RELEASE'\n", "")
    assert "file:/srv/shop/.deploy-gunicorn.conf.py" in json.loads(instruction(text, "CMD"))


@pytest.mark.parametrize(
    ("settings", "files", "base"),
    [
        ("python: {version: '3.10'}\n", {}, "python:3.10-slim-bookworm"),
        ("", {".python-version": "3.12.4\n"}, "python:3.12-slim-bookworm"),
        ("", {}, "python:3.13-slim-bookworm"),
        ("", {"pyproject.toml": PROJECT.format(python=">=3.11,<3.13")}, "python:3.12-slim-bookworm"),
        ("", {"pyproject.toml": PROJECT.format(python="~=3.11.4")}, "python:3.11-slim-bookworm"),
    ],
)
def test_the_base_is_pinned_to_the_python_that_is_asked_for(
    render: Any, settings: str, files: dict[str, str], base: str
) -> None:
    text, result = render(settings, **{"requirements.txt": "uvicorn\n", **files})
    assert result.exit_code == 0, result.output
    assert instruction(text, "ARG", 0) == f"BASE={base}" and instruction(text, "FROM", 0) == "${BASE} AS base"


def test_no_secret_is_in_it_and_what_installs_gets_its_own_only_while_it_does(
    render: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "hidden-1")
    monkeypatch.setenv("INDEX", "hidden-2")
    settings = (
        "secrets: {KEY: {env: KEY}}\n"
        "python: {env: {PIP_TIMEOUT: '9'}, secrets: {PIP_EXTRA_INDEX_URL: {env: INDEX}}}\n"
        "source: {exclude: ['notes/', '*.log', '/docs']}\n"
    )
    text, _ = render(settings, **{"requirements.txt": "uvicorn\n"})
    assert "hidden" not in text and "ENV KEY" not in text and " -e KEY " in text
    first, last = text.split("FROM base\n")
    assert "RUN --mount=type=secret,id=PIP_EXTRA_INDEX_URL export" in first and "PIP_" not in last
    ignored = (tmp_path / "out" / ".dockerignore").read_text().splitlines()
    assert {"**/.git", "**/.venv", "**/.env", "inventories", "**/notes", "**/*.log", "docs", "out"} <= set(ignored)
    assert (tmp_path / "out" / "Dockerfile.dockerignore").read_text().splitlines() == ignored


def test_values_keep_their_meaning_and_what_cannot_be_said_is_refused(render: Any) -> None:
    text, _ = render(
        'env: {A: \'x "y" $HOME \\z\'}\ndomains: [shop.example.com]\nhealth: {headers: {X-Y: "it\'s"}}\n',
        **{"requirements.txt": "uvicorn\n"},
    )
    assert 'ENV A="x \\"y\\" \\$HOME \\\\z"' in text
    check = json.loads(instruction(text, "HEALTHCHECK").partition(" CMD ")[2])
    assert check[:2] == ["python", "-c"] and "/healthz" in check[2] and "shop.example.com" in check[2]
    compile(check[2], "check", "exec")


def test_an_include_that_no_context_has_is_an_error(render: Any, tmp_path: Path) -> None:
    (tmp_path.parent / "outside.txt").write_text("uvicorn\n")
    text, result = render("", **{"requirements.txt": "uvicorn\n-r ../outside.txt\n"})
    assert result.exit_code == 2 and "outside.txt, which lies outside" in result.stderr and not text


def test_hooks_of_several_lines_and_shared_folders(render: Any) -> None:
    settings = (
        "hooks:\n  build: |\n    npm ci\n    npm run build\n  prepare: |\n    python -m one\n    python -m two\n"
        "  release: alembic upgrade head\nshared: [media/]\npackages: [libpq5]\n"
    )
    text, result = render(settings, **{"requirements.txt": "uvicorn\n"})
    assert result.exit_code == 0, result.output
    assert 'RUN ["/bin/sh", "-ec", "python -m one\\npython -m two\\n"]' in text
    assert "sh -ec $'npm ci\\nnpm run build'" in text and "sh -c 'alembic upgrade head'" in text
    assert "install -d -o app -g app media/" in text and "--no-install-recommends libpq5" in text


def test_folders_on_the_path_and_what_no_image_can_have(render: Any) -> None:
    text, result = render(
        "env: {PYTHONPATH: /opt/more}\npython: {with: [uvicorn]}\n", **{"main.py": "", "src/shop/__init__.py": FASTAPI}
    )
    assert result.exit_code == 0, result.output
    assert 'ENV PYTHONPATH="/srv/shop/src:/opt/more"' in text


def test_packages_of_a_host_are_in_no_image(render: Any) -> None:
    text, result = render("python: {installer: none}\n")
    assert result.exit_code == 2 and "installer is none" in result.stderr and not text
