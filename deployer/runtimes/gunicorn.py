"""gunicorn: WSGI apps, and ASGI apps by uvicorn's worker class or its own."""

from __future__ import annotations

from typing import Literal

from deployer import templating
from deployer.errors import SettingsError
from deployer.runtimes import access_log
from deployer.runtimes.arguments import DEVELOPMENT_GRACE_S, SLOT, VENV, bound, refuse_words
from deployer.runtimes.base import Development, Serving
from deployer.runtimes.check import import_check
from deployer.settings.inference.server.effect import whole_seconds
from deployer.settings.inference.server.options import GUNICORN
from deployer.settings.inference.server.worker_class import PACKAGES, UVICORN_WORKER

PYTHON = ".venv/bin/python"
CONFIG = ".deploy-gunicorn.conf.py"
DEVELOPMENT_CONFIG = "gunicorn.conf.py"


class Gunicorn:
    """`python -m gunicorn` for WSGI, with the worker class that `runtime.worker_class` names."""

    name = "gunicorn"
    takes_socket = True
    race = False
    reload_check: tuple[str, ...] = ("--check-config",)
    interface: Literal["asgi", "wsgi"] = "wsgi"

    def refuse(self, serving: Serving) -> SettingsError | None:
        """Return words that a rollout depends on."""
        if serving.target is None:
            return SettingsError("no app was found", hint="write runtime: {app: module:attribute}")
        return refuse_words(serving, GUNICORN)

    def refuse_reload(self, workers: int, *, same: bool) -> str | None:
        """Never: its config finds the release anew at each load."""
        return None

    def requires(self, serving: Serving) -> tuple[str, ...]:
        """gunicorn, and what its worker class needs."""
        extra = PACKAGES.get(serving.worker_class or serving.settings.worker_class)
        return ("gunicorn", extra) if extra else ("gunicorn",)

    def command(self, serving: Serving) -> tuple[str, ...]:
        """Everything but the address is in the config file, which `--check-config` reads too.

        A master outlives its release when it is reloaded, so it starts in the virtualenv, and finds its release by the
        slot's link.
        """
        words = ("--config", f"file:{SLOT}/{CONFIG}", "--bind", bound(serving))
        return (VENV + "/bin/python", "-m", "gunicorn", *words, *serving.settings.args, self.target(serving))

    def command_with_socket(self, serving: Serving) -> tuple[str, ...]:
        """It finds the socket by itself, and then leaves `--bind` aside."""
        return self.command(serving)

    def development(self, serving: Serving) -> Development:
        """Without a timeout, so that a worker that stands in a debugger is left alone. A gunicorn.conf.py is read."""
        words = ["--config", f"file:{SLOT}/{DEVELOPMENT_CONFIG}", "--bind", bound(serving)]
        words += ["--workers", "1", "--reload", "--log-level", "debug", "--access-logfile", "-", "--timeout", "0"]
        words += ["--graceful-timeout", DEVELOPMENT_GRACE_S]
        if self.name != "gunicorn" or "worker_class" in serving.settings.model_fields_set:
            words += ["--worker-class", self.worker_class(serving)]
        config = templating.render("gunicorn.dev.conf.py.j2", search=serving.search, ends=self.interface == "asgi")
        words += [*serving.settings.args, self.target(serving)]
        return Development(("-m", "gunicorn", *words), {DEVELOPMENT_CONFIG: config})

    def variables(self, serving: Serving) -> dict[str, str]:
        """None."""
        return {}

    def files(self, serving: Serving) -> dict[str, str]:
        """Return the config file. What it does not know in an older gunicorn, gunicorn ignores."""
        settings = serving.settings
        text = templating.render(
            "gunicorn.conf.py.j2",
            search=serving.search,
            worker_class=self.worker_class(serving),
            worker_class_said=self.name != "gunicorn" or "worker_class" in settings.model_fields_set,
            workers=serving.workers,
            timeout=whole_seconds(settings.timeout),
            timeout_said="timeout" in settings.model_fields_set,
            graceful_timeout=whole_seconds(settings.graceful_timeout, least=1),
            keepalive=whole_seconds(settings.keepalive),
            max_requests=settings.max_requests,
            max_requests_jitter=settings.jitter,
            trusted=",".join(serving.trusted),
            access_log=access_log.configured_access_log(serving),
            release=serving.release,
        )
        return {CONFIG: text}

    def check(self, serving: Serving) -> tuple[str, ...]:
        """Import the app, then `gunicorn --check-config`, which also loads the worker class."""
        words = ("--config", "file:" + CONFIG, *serving.settings.args, "--check-config", self.target(serving))
        return import_check(serving, python=PYTHON, module="gunicorn", then=words)

    def worker_class(self, serving: Serving) -> str:
        """Return the class as gunicorn takes it, where the app's own file names no other."""
        return serving.settings.worker_class

    def target(self, serving: Serving) -> str:
        """Return the app as gunicorn takes it: `module:attribute`, with parentheses behind a factory."""
        target = serving.target
        assert target is not None  # refuse() came first
        return target.path + "()" if target.factory and not target.path.endswith("()") else target.path


class GunicornUvicorn(Gunicorn):
    """gunicorn as the master of uvicorn workers, by the class of `uvicorn-worker` or one of the user's own."""

    name = "gunicorn+uvicorn"
    interface = "asgi"
    race = True

    def requires(self, serving: Serving) -> tuple[str, ...]:
        """gunicorn, uvicorn, and what has the class where it is `uvicorn-worker`'s."""
        own = self.worker_class(serving) == UVICORN_WORKER
        return ("gunicorn", "uvicorn", "uvicorn-worker") if own else ("gunicorn", "uvicorn")

    def worker_class(self, serving: Serving) -> str:
        """Return the class of the settings, else the one that fits the uvicorn that is asked for."""
        if "worker_class" in serving.settings.model_fields_set:
            return serving.settings.worker_class
        return serving.worker_class or UVICORN_WORKER


class GunicornAsgi(Gunicorn):
    """gunicorn's own ASGI worker (gunicorn 24 and later)."""

    name = "gunicorn-asgi"
    interface = "asgi"

    def worker_class(self, serving: Serving) -> str:
        """Return its one class."""
        return "asgi"
