"""Which words a runtime gives, and which it refuses."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deployer import runtimes
from deployer.errors import SettingsError
from deployer.settings.inference.server.options import GUNICORN, UVICORN, Options

from .serving import serving


def test_uvicorn_says_everything_a_rollout_depends_on() -> None:
    words = runtimes.get("uvicorn").command(serving(workers=2, graceful_timeout=12.5, keepalive=7))
    assert words == (
        ".venv/bin/python", "-m", "uvicorn", "shop.main:app", "--host", "127.0.0.1", "--port", "$PORT",
        "--workers", "2",
        "--timeout-graceful-shutdown", "13", "--timeout-keep-alive", "7", "--proxy-headers",
        "--forwarded-allow-ips", "127.0.0.1",
    )  # fmt: skip


def test_a_factory_is_served_by_both_kinds() -> None:
    made = serving("shop.main:create()", factory=True)
    assert "--factory" in runtimes.get("uvicorn").command(made)
    assert "shop.main:create" in runtimes.get("uvicorn").command(made)
    assert runtimes.get("gunicorn+uvicorn").command(made)[-1] == "shop.main:create()"


def test_an_ipv6_address_is_bound_in_brackets() -> None:
    from dataclasses import replace

    words = runtimes.get("gunicorn").command(replace(serving("a:b", "wsgi"), address="::1"))
    assert "[::1]:$PORT" in words


@pytest.mark.parametrize(
    ("server", "interface", "settings", "said"),
    [
        ("uvicorn", "asgi", {"max_requests": 100}, "max_requests"),
        ("uvicorn", "asgi", {"args": ("--port", "1")}, "--port"),
        ("uvicorn", "asgi", {"args": ("--reload",)}, "--reload"),
        ("gunicorn", "wsgi", {"args": ("--threads 8",)}, "write it as two, [--threads, '8']"),
        ("gunicorn", "wsgi", {"args": ("--preload",)}, "--preload"),
        ("gunicorn", "wsgi", {"args": ("--prelo",)}, "--prelo"),
        ("gunicorn", "wsgi", {"args": ("-b0.0.0.0:1",)}, "-b"),
        ("gunicorn", "wsgi", {"args": ("--bind=0.0.0.0:1",)}, "--bind"),
        ("gunicorn", "wsgi", {"env": {"GUNICORN_CMD_ARGS": "--threads 4 --preload"}}, "GUNICORN_CMD_ARGS"),
        ("gunicorn", "wsgi", {"args": ("--timeout=3",)}, "runtime.timeout decides that"),
        ("gunicorn", "wsgi", {"args": ("-t", "3")}, "runtime.timeout decides that"),
        ("gunicorn", "wsgi", {"args": ("--graceful=3",)}, "runtime.graceful_timeout decides that"),
        ("gunicorn", "wsgi", {"args": ("--certfile", "/etc/cert.pem")}, "plain HTTP"),
        ("gunicorn", "wsgi", {"args": ("--keyf=/etc/key.pem",)}, "plain HTTP"),
        ("gunicorn", "wsgi", {"args": ("--user", "www-data")}, "cannot switch users"),
        ("gunicorn", "wsgi", {"args": ("-g", "www-data")}, "cannot switch users"),
        ("gunicorn", "wsgi", {"args": ("--proxy-protocol",)}, "PROXY line"),
        ("gunicorn", "wsgi", {"args": ("--reuse-port",)}, "systemd holds"),
        ("gunicorn", "wsgi", {"args": ("--check-config",)}, "exits instead of serving"),
        ("gunicorn", "wsgi", {"args": ("other:app",)}, "named by runtime.app"),
        ("gunicorn", "wsgi", {"args": ("--threads", "8", "other:app")}, "runtime.args has other:app"),
        ("gunicorn", "wsgi", {"args": ("--capture-output", "other:app")}, "runtime.args has other:app"),
        ("gunicorn", "wsgi", {"args": ("-n=shop", "other:app")}, "runtime.args has other:app"),
        ("uvicorn", "asgi", {"args": ("extra:app",)}, "named by runtime.app"),
        ("uvicorn", "asgi", {"args": ("--no-access-log", "extra:app")}, "runtime.args has extra:app"),
        ("uvicorn", "asgi", {"args": ("--ssl-certfile", "cert.pem")}, "plain HTTP"),
        ("uvicorn", "asgi", {"args": ("--ssl-keyfile=key.pem",)}, "plain HTTP"),
        ("uvicorn", "asgi", {"args": ("--reload-dir", "shop")}, "a release never changes"),
        ("uvicorn", "asgi", {"args": ("--factory",)}, "module:factory()"),
        ("uvicorn", "asgi", {"args": ("--workers=3",)}, "runtime.workers decides that"),
        ("uvicorn", "asgi", {"env": {"UVICORN_RELOAD": "1"}}, "UVICORN_RELOAD"),
        ("uvicorn", "asgi", {"env": {"UVICORN_SSL_CERTFILE": "cert.pem"}}, "UVICORN_SSL_CERTFILE"),
        ("command", "asgi", {}, "runtime.command is missing"),
        ("command", "asgi", {"command": "hypercorn shop:app"}, "$PORT"),
        ("command", "asgi", {"command": "migrate && serve --port $PORT"}, "without a shell"),
        ("command", "asgi", {"command": "serve 'open --port $PORT"}, "cannot be read"),
    ],
)
def test_what_would_break_a_rollout_is_refused_with_the_fix(
    server: str, interface: str, settings: dict[str, object], said: str
) -> None:
    why = runtimes.get(server).refuse(serving(interface=interface, **settings))  # type: ignore[arg-type]
    assert why and why.hint and said in f"{why}; {why.hint}"


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_every_option_that_stands_alone_is_known_as_one(server: str) -> None:
    """A word behind it would else be taken for its value, and serve another app. Read from the servers themselves."""
    if server == "gunicorn":
        from gunicorn.config import Config

        actions = Config().parser()._actions
        alone = {word for action in actions if action.nargs == 0 for word in action.option_strings}
        assert alone <= GUNICORN.flags
    else:
        from uvicorn.main import main

        options = [option for option in main.params if getattr(option, "is_flag", False)]
        assert {word for option in options for word in (*option.opts, *option.secondary_opts)} <= UVICORN.flags


@pytest.mark.parametrize(("server", "options"), [("gunicorn", GUNICORN), ("uvicorn", UVICORN)])
def test_what_is_kept_from_users_are_options_that_there_are(server: str, options: Options) -> None:
    done = subprocess.run([sys.executable, "-m", server, "--help"], capture_output=True, text=True, check=True)
    assert not [word for word in (*options.keys, *options.decided) if word not in done.stdout]


@pytest.mark.parametrize(
    ("server", "interface", "settings"),
    [
        ("uvicorn", "asgi", {"args": ("--limit-concurrency", "100", "--no-access-log")}),
        ("uvicorn", "asgi", {"max_requests": 100, "workers": 2}),
        ("gunicorn", "wsgi", {"args": ("--threads", "8", "--worker-connections=9", "--log-file", "-")}),
        ("gunicorn", "wsgi", {"worker_class": "gthread", "env": {"GUNICORN_CMD_ARGS": "--threads 4"}}),
        ("command", "asgi", {"command": "hypercorn shop:app --bind 0.0.0.0:${PORT}"}),
    ],
)
def test_tuning_that_harms_nothing_is_allowed(server: str, interface: str, settings: dict[str, object]) -> None:
    workers = settings.get("workers", 1)
    made = serving(interface=interface, **{**settings, "workers": workers})  # type: ignore[arg-type]
    assert runtimes.get(server).refuse(made) is None


def test_an_unknown_server_lists_those_there_are() -> None:
    with pytest.raises(SettingsError) as caught:
        runtimes.get("apache")
    assert "gunicorn+uvicorn" in str(caught.value)


def test_what_must_be_in_the_virtualenv() -> None:
    assert runtimes.get("uvicorn").requires(serving()) == ("uvicorn",)
    assert runtimes.get("gunicorn+uvicorn").requires(serving()) == ("gunicorn", "uvicorn", "uvicorn-worker")
    assert runtimes.get("gunicorn").requires(serving("a:b", "wsgi", worker_class="gevent")) == ("gunicorn", "gevent")
