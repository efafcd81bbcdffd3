"""Procfiles as people have them, in the words of deploy.yaml. What is taken over does what it did."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import SettingsError
from deployer.rollout.run.project import load as load_project
from deployer.settings.init.init import write
from deployer.settings.init.procfile import Procfile, parse_procfile
from deployer.settings.init.runtime import InitOptions
from deployer.settings.load import load
from deployer.settings.models import Settings


def made(text: str) -> Procfile:
    """What a Procfile comes to, which is always settings that are valid."""
    found = parse_procfile(text)
    hooks = {"release": found.release, "prepare": found.prepare}
    hooks = {name: command for name, command in hooks.items() if command}
    Settings.model_validate({"app": "shop", "runtime": found.runtime, "processes": found.processes, "hooks": hooks})
    return found


@pytest.mark.parametrize(
    ("web", "runtime"),
    [
        ("gunicorn shop.wsgi", {"server": "gunicorn", "app": "shop.wsgi:application"}),
        (
            "gunicorn config.wsgi:application --bind 0.0.0.0:$PORT --workers 3 --threads 4 --log-file -",
            {"server": "gunicorn", "app": "config.wsgi:application", "workers": 3, "args": ["--threads", "4"]},
        ),
        (
            'python -m gunicorn -w4 -k "uvicorn.workers.UvicornWorker" -b :${PORT:-8000} --timeout=60 shop.main:app',
            {"server": "gunicorn+uvicorn", "app": "shop.main:app", "workers": 4, "timeout": 60},
        ),
        (
            "exec gunicorn 'shop:create_app()' -k gevent --max-requests 1000 --max-requests-jitter 50 --keep-alive 5",
            {"server": "gunicorn", "app": "shop:create_app()", "worker_class": "gevent", "max_requests": 1000,
             "max_requests_jitter": 50, "keepalive": 5},
        ),
        (
            "uv run uvicorn shop.main:app --host 0.0.0.0 --port $PORT --workers 2 --no-access-log --loop auto",
            {"server": "uvicorn", "app": "shop.main:app", "workers": 2, "args": ["--no-access-log", "--loop", "auto"]},
        ),
        ("uvicorn shop:create --factory --port=$PORT", {"server": "uvicorn", "app": "shop:create()"}),
        ("uvicorn --factory shop:create --port=$PORT", {"server": "uvicorn", "app": "shop:create()"}),
        ("bin/gunicorn shop.wsgi -k asgi", {"server": "gunicorn-asgi", "app": "shop.wsgi:application"}),
        (
            "daphne chat.asgi:application --port $PORT --bind 0.0.0.0 -v2",
            {"server": "command", "command": "daphne chat.asgi:application --port $PORT --bind 0.0.0.0 -v2"},
        ),
        (
            "poetry run hypercorn shop:app -b 0.0.0.0:${PORT:-5000} -w $WEB_CONCURRENCY",
            {"server": "command", "command": "sh -c 'exec hypercorn shop:app -b 0.0.0.0:$PORT -w $WEB_CONCURRENCY'"},
        ),
        (
            "newrelic-admin run-program gunicorn shop:app",
            {"server": "command", "command": "newrelic-admin run-program gunicorn shop:app --bind 0.0.0.0:$PORT"},
        ),
        (
            "A=1 waitress-serve --port=$PORT shop:app",
            {"server": "command", "command": "env A=1 waitress-serve --port=$PORT shop:app"},
        ),
    ],
)  # fmt: skip
def test_the_web_is_the_runtime(web: str, runtime: dict[str, Any]) -> None:
    found = made(f"web: {web}\n")
    assert found.runtime == runtime
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("web", "said"),
    [
        ("gunicorn shop.wsgi --workers ${WEB_CONCURRENCY:-3}", "it was 3"),
        ("gunicorn shop.wsgi -w $WEB_CONCURRENCY", "runtime.workers"),
        ("gunicorn shop.wsgi --preload", "--preload"),
        ("gunicorn shop.wsgi -c config/gunicorn.py", "gunicorn.conf.py"),
        ("gunicorn --chdir src shop.wsgi", "source.subdir"),
        ("gunicorn \"shop:create_app('prod')\"", "module:attribute"),
        ("gunicorn shop.wsgi --timeout soon", "runtime.timeout takes a number"),
        ("DEBUG=1 gunicorn shop.wsgi", "web sets DEBUG"),
        ("python app.py", "chosen by the code"),
        ("python manage.py runserver 0.0.0.0:$PORT", "chosen by the code"),
        ("flask run -p $PORT", "chosen by the code"),
        ("gunicorn 'shop.wsgi", "cannot be parsed"),
        ("cd src && gunicorn shop.wsgi", "source: {subdir: src}"),
        ("python manage.py compress && gunicorn shop.wsgi", "hooks.prepare"),
    ],
)
def test_what_cannot_be_taken_over_is_said(web: str, said: str) -> None:
    (remark,) = made(f"web: {web}\n").remarks
    assert said in remark


def test_a_migration_before_the_server_becomes_the_release_hook_unless_there_is_one() -> None:
    web = "web: python manage.py migrate && gunicorn shop.wsgi\n"
    assert made(web).release == "python manage.py migrate"
    found = made(web + "release: ./release.sh && echo done\n")
    assert found.release == "./release.sh && echo done" and "hooks.prepare" in found.remarks[0]


@pytest.mark.parametrize(
    ("text", "prepare", "release"),
    [
        (
            "release: python manage.py collectstatic --no-input && python manage.py migrate\n",
            "python manage.py collectstatic --no-input", "python manage.py migrate",
        ),
        (
            "release: ./before; poetry run python manage.py collectstatic; django-admin migrate\n",
            "python manage.py collectstatic", "./before ; django-admin migrate",
        ),
        ("release: manage.py collectstatic --noinput\n", "manage.py collectstatic --noinput", None),
        (
            "web: python manage.py migrate && python manage.py collectstatic --noinput && gunicorn shop.wsgi\n",
            "python manage.py collectstatic --noinput", "python manage.py migrate",
        ),
        ("release: (manage.py collectstatic; ./b)\n", None, "(manage.py collectstatic; ./b)"),
        ("release: ./release collectstatic\n", None, "./release collectstatic"),
    ],
)  # fmt: skip
def test_static_files_are_collected_on_every_host(text: str, prepare: str | None, release: str | None) -> None:
    found = made(text)
    assert (found.prepare, found.release) == (prepare, release)
    assert [True for remark in found.remarks if "here it runs on every host" in remark] == [True] * bool(prepare)


def test_the_other_lines_are_processes_and_clocks_are_singletons() -> None:
    found = made(
        "# all of it\n"
        "release: pipenv run python manage.py migrate\n"
        "worker: C_FORCE_ROOT=1 celery --app shop worker --loglevel=info\n"
        "\n"
        "beat: celery --app shop beat\n"
        "rq_scheduler: rqscheduler --host redis\n"
        "both: celery -A shop worker -B -l info\n"
        "tick:python clock.py\n"
        "heartbeats: python -m shop.heartbeats\n"
    )
    assert found.release == "python manage.py migrate"
    assert found.processes == {
        "worker": {"command": "env C_FORCE_ROOT=1 celery --app shop worker --loglevel=info"},
        "beat": {"command": "celery --app shop beat", "singleton": True},
        "rq-scheduler": {"command": "rqscheduler --host redis", "singleton": True},
        "both": {"command": "celery -A shop worker -B -l info", "singleton": True},
        "tick": {"command": "python clock.py", "singleton": True},
        "heartbeats": {"command": "python -m shop.heartbeats"},
    }
    assert "-B" in found.whys["both"] and set(found.whys) == {"beat", "rq-scheduler", "both", "tick"}
    assert found.remarks == ("rq_scheduler is called rq-scheduler here: letters, digits and dashes",)


@pytest.mark.parametrize("before", ["", "env ", "A=1 "])
def test_celery_is_left_the_warm_end_that_a_push_waits_for(before: str) -> None:
    found = made(f"worker: {before}REMAP_SIGTERM=SIGQUIT celery -A shop worker\n")
    assert found.processes["worker"]["command"].endswith("celery -A shop worker")
    assert "REMAP" not in found.processes["worker"]["command"]
    assert ["worker: REMAP_SIGTERM=SIGQUIT is left out: with it Celery" in each for each in found.remarks] == [True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker celery -A shop worker\n", "line 1 is not NAME: COMMAND"),
        ("7: celery\n", "cannot be the name"),
        ("a_b: run\nA-B: walk\n", "cannot be the name"),
        ("worker: echo 'open\n", "worker is left out"),
        ("api: server --port $PORT\n", "a process has no port"),
        ("worker: consume $QUEUE ${TOPIC:-all}\n", "$QUEUE, $TOPIC"),
        ("worker: cat jobs | consume\n", "SIGTERM"),
    ],
)
def test_lines_that_ask_for_a_person(text: str, said: str) -> None:
    assert any(said in remark for remark in made(text).remarks)


@pytest.mark.parametrize(
    "command",
    [
        "show a 'b  c' \"d $WHO\" e\\ f",
        "A=1 B='2 3' show $WHO",
        "show one && A='x y' show two",
        "show one; show two",
        "show a > out 2>&1; show b",
        "A=1 show a | cat",
        'show "$(show inner)" > out',
        "exec show 'it'\"'\"'s'",
        "false || show else",
        "(show a; show b)",
        "A=$(show a; echo c) show b",
        "show ';' \\; '&&' \\( c",
    ],
)
def test_a_process_does_what_its_line_did(command: str, tmp_path: Path) -> None:
    """The program `show` prints its words and what it has of the environment: by the line, and as a release runs it."""
    show = tmp_path / "show"
    show.write_text('#!/bin/sh\nfor word in "$@"; do printf "<%s>" "$word"; done; echo " A=$A B=$B"\n')
    show.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "WHO": "me too"}
    program = made(f"worker: {command}\n").processes["worker"]["command"]

    def printed(script: str) -> str:
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30)
        out = tmp_path / "out"
        text = done.stdout + done.stderr + (out.read_text() if out.exists() else "")
        out.unlink(missing_ok=True)
        return text

    assert printed(f"exec {program}") == printed(command) != ""


def test_init_writes_what_the_procfile_says(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (folder / "api.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (folder / "alembic.ini").write_text("")
    (folder / "requirements.txt").write_text("fastapi\nuvicorn\ncelery\n")
    (folder / "Procfile").write_text(
        "web: uvicorn api:app --host 0.0.0.0 --port $PORT --workers ${WEB_CONCURRENCY:-2} --loop uvloop\n"
        "release: python -c 'print(\"it: {done}\")'\n"
        'beat: celery -A shop beat -s "/tmp/a: b"\n'
    )
    write(folder)
    text = (folder / "deploy.yaml").read_text()
    settings = load(folder / "deploy.yaml", "prod", environ={}).settings
    assert (settings.runtime.server, settings.runtime.app) == ("uvicorn", "api:app")
    assert settings.runtime.args == ("--loop", "uvloop") and settings.runtime.workers == "auto"
    assert settings.hooks.release is not None
    assert settings.hooks.release.command == "python -c 'print(\"it: {done}\")'"
    assert settings.processes["beat"].singleton
    assert settings.processes["beat"].command == 'celery -A shop beat -s "/tmp/a: b"'
    assert "# Procfile: web: --workers" in text and "two of beat" in text


def test_a_web_that_the_code_does_not_bear_out_is_left_to_the_code(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "Procfile").write_text("web: uvicorn main:gone\n")
    write(tmp_path)
    text = (tmp_path / "deploy.yaml").read_text()
    assert "# Procfile: web is left out: " in text
    assert load(tmp_path / "deploy.yaml", "prod", environ={}).settings.runtime.server == "auto"


def test_one_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "Procfile").write_bytes(b"web: \xff\xfe\n")
    with pytest.raises(SettingsError, match="UTF-8"):
        write(tmp_path)


@pytest.mark.parametrize(
    ("web", "runtime", "said"),
    [
        (
            "gunicorn main:app --certfile cert.pem --threads 4",
            {"server": "gunicorn", "app": "main:app", "args": ["--threads", "4"]},
            "web: --certfile cert.pem is left out: the balancer",
        ),
        (
            "gunicorn main:app --reuse-port --max-requests-jitter 9",
            {"server": "gunicorn", "app": "main:app"},
            "web: --reuse-port is left out",
        ),
        ("uvicorn main:app --ssl-keyfile=k", {"server": "uvicorn", "app": "main:app"}, "--ssl-keyfile k is left out"),
    ],
)
def test_what_a_push_would_refuse_is_left_out_and_said(web: str, runtime: dict[str, Any], said: str) -> None:
    made = parse_procfile(f"web: {web}\n")
    assert made.runtime == runtime
    assert any(said in remark for remark in made.remarks)


def test_a_worker_class_that_is_no_more_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FLASK)
    (tmp_path / "Procfile").write_text("web: gunicorn main:app -k eventlet\n")
    write(tmp_path)
    text = (tmp_path / "deploy.yaml").read_text()
    assert (
        "# Procfile: web is left out: runtime.worker_class eventlet does not exist any more: gunicorn 26 removed it"
        in text
    )
    assert load(tmp_path / "deploy.yaml", "prod", environ={}).settings.runtime.worker_class == "sync"


FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"


@pytest.mark.parametrize(
    ("code", "size", "web", "kept", "said"),
    [
        (
            FLASK,
            "medium",
            "gunicorn main:app --timeout 90 --workers 3 --worker-class gthread --threads 4",
            {"server": "gunicorn", "workers": 8, "timeout": 90, "worker_class": "gthread", "args": ("--threads", "4")},
            ["workers: 8 in place of web's 3"],
        ),
        (
            FASTAPI,
            "small",
            "gunicorn main:app -k uvicorn.workers.UvicornWorker --timeout 90 --backlog 9",
            {"server": "uvicorn", "workers": 2, "timeout": 120, "args": ()},
            [
                "server: uvicorn in place of web's gunicorn+uvicorn",
                'args ["--backlog", "9"] is left out',
                "web's timeout 90 is left out",
            ],
        ),
        (
            FASTAPI,
            "large",
            "gunicorn main:app -k uvicorn.workers.UvicornWorker --workers 4 --backlog 9",
            {"server": "gunicorn+uvicorn", "workers": 4, "args": ("--backlog", "9")},
            [],
        ),
        (
            FASTAPI,
            "small",
            "daphne main:app --port $PORT",
            {"server": "uvicorn", "command": None},
            ["since the size decides the server: daphne main:app --port $PORT"],
        ),
    ],
)
def test_a_size_overrules_only_what_it_is_about_and_says_so(
    tmp_path: Path, code: str, size: Any, web: str, kept: dict[str, Any], said: list[str]
) -> None:
    (tmp_path / "main.py").write_text(code)
    (tmp_path / "Procfile").write_text(f"web: {web}\n")
    remarks = write(tmp_path, options=InitOptions(size=size)).remarks
    runtime = load(tmp_path / "deploy.yaml", "prod", environ={}).settings.runtime
    assert {key: getattr(runtime, key) for key in kept} == kept
    told = [remark for remark in remarks if remark.startswith("Procfile: ")]
    assert len(told) == len(said) and all(words in each for words, each in zip(said, told, strict=True))
    assert all(f"# {remark}\n" in (tmp_path / "deploy.yaml").read_text() for remark in remarks)


@pytest.mark.parametrize(
    ("code", "web", "server", "said"),
    [
        (
            FASTAPI,
            "gunicorn main:app -w 3",
            "uvicorn",
            "does not serve main:app, which is ASGI: uvicorn",
        ),
        (FASTAPI, "gunicorn main:app --threads 4 -w 3", "uvicorn", "uvicorn does; its --threads 4 is left out"),
        (
            FLASK,
            "uvicorn main:app --workers 3",
            "gunicorn",
            "does not serve main:app, which is WSGI: gunicorn",
        ),
    ],
)
def test_a_web_whose_server_cannot_serve_the_app_gets_one_that_does(
    tmp_path: Path, code: str, web: str, server: str, said: str
) -> None:
    (tmp_path / "main.py").write_text(code)
    (tmp_path / "Procfile").write_text(f"web: {web}\n")
    made = write(tmp_path)
    project = load_project("prod", start=tmp_path)
    assert (project.inferred.server, project.topology.settings.runtime.workers) == (server, 3)
    project.inferred.require_server()
    assert any(said in remark for remark in made.remarks)


def test_one_process_that_would_end_after_so_many_requests_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    (tmp_path / "Procfile").write_text("web: uvicorn main:app --workers 1 --limit-max-requests 100\n")
    made = write(tmp_path)
    runtime = load(tmp_path / "deploy.yaml", "prod", environ={}).settings.runtime
    assert (runtime.workers, runtime.max_requests) == (1, 0)
    assert any("max_requests 100 is left out" in remark for remark in made.remarks)
