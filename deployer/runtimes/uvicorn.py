"""uvicorn: ASGI apps, one process or several under its own small master."""

from __future__ import annotations

from deployer.errors import SettingsError
from deployer.runtimes import access_log
from deployer.runtimes.arguments import DEVELOPMENT_GRACE_S, PORT, SOCKET, refuse_words
from deployer.runtimes.base import Development, Serving
from deployer.runtimes.check import import_check
from deployer.settings.inference.server.effect import whole_seconds
from deployer.settings.inference.server.options import UVICORN

PYTHON = ".venv/bin/python"
_ELSEWHERE = (
    "UVICORN_UDS", "UVICORN_FD", "UVICORN_RELOAD", "UVICORN_LIMIT_MAX_REQUESTS", "UVICORN_APP_DIR", "UVICORN_FACTORY",
    "UVICORN_SSL_KEYFILE", "UVICORN_SSL_CERTFILE",
)  # fmt: skip


class Uvicorn:
    """`python -m uvicorn`, measured best behind a balancer that drains."""

    name = "uvicorn"
    takes_socket = True
    race = True
    reload_check: tuple[str, ...] = ()

    def refuse(self, serving: Serving) -> SettingsError | None:
        """Recycling of a single process, and words that a rollout depends on."""
        if serving.target is None:
            return SettingsError("no app was found", hint="write runtime: {app: module:attribute}")
        if serving.settings.max_requests and serving.workers == 1:
            return SettingsError(
                "runtime.max_requests with one uvicorn process refuses requests while it restarts",
                hint="write workers: 2 or more, server: gunicorn+uvicorn, or leave it out",
            )
        for variable in _ELSEWHERE:
            if variable in serving.env:
                return SettingsError(
                    f"env.{variable} would change a setting that the rollout depends on",
                    hint=f"take {variable} out of env",
                )
        return refuse_words(serving, UVICORN) or access_log.refused(serving)

    def refuse_reload(self, workers: int, *, same: bool) -> str | None:
        """Return one process, and any other release."""
        if workers < 2:
            return "in one process dies on SIGHUP: it takes runtime.workers: 2 or more"
        return None if same else "re-reads only the release that it was started with"

    def requires(self, serving: Serving) -> tuple[str, ...]:
        """uvicorn itself."""
        return ("uvicorn",)

    def command(self, serving: Serving) -> tuple[str, ...]:
        """`--workers` is always set, since uvicorn else takes it from WEB_CONCURRENCY."""
        return (PYTHON, "-m", "uvicorn", *self._options(serving))

    def command_with_socket(self, serving: Serving) -> tuple[str, ...]:
        """It knows nothing of `LISTEN_FDS`, so the descriptor is passed."""
        return (PYTHON, "-m", "uvicorn", *self._options(serving, ("--fd", "3")))

    def development(self, serving: Serving) -> Development:
        """`--reload` is one process by itself."""
        words = [*self._app(serving), "--host", serving.address, "--port", PORT]
        words += ["--reload", "--log-level", "debug", "--timeout-graceful-shutdown", DEVELOPMENT_GRACE_S]
        return Development(("-m", "uvicorn", *words, *serving.settings.args))

    def variables(self, serving: Serving) -> dict[str, str]:
        """Return the jitter of its own accord: uvicorn has known it since 0.41, and an option would end an older one.

        UVICORN_TIMEOUT_WORKER_HEALTHCHECK stays at its 5 s, which see under Workers in docs/settings.md.
        """
        settings = serving.settings
        own = settings.max_requests and "max_requests_jitter" not in settings.model_fields_set
        return {"UVICORN_LIMIT_MAX_REQUESTS_JITTER": str(settings.jitter)} if own else {}

    def files(self, serving: Serving) -> dict[str, str]:
        """None but for access lines as JSON: all else fits into the command."""
        return access_log.files_for_uvicorn(serving)

    def check(self, serving: Serving) -> tuple[str, ...]:
        """Import the app, then let uvicorn itself read the options."""
        return import_check(serving, python=PYTHON, module="uvicorn", click_options=self._options(serving))

    def _options(self, serving: Serving, place: tuple[str, ...] = ()) -> tuple[str, ...]:
        settings = serving.settings
        words = list(self._app(serving))
        words += place or (("--uds", SOCKET) if serving.at_sockets else ("--host", serving.address, "--port", PORT))
        words += ["--workers", str(serving.workers)]
        words += ["--timeout-graceful-shutdown", str(whole_seconds(settings.graceful_timeout, least=1))]
        words += ["--timeout-keep-alive", str(whole_seconds(settings.keepalive))]
        words += ["--proxy-headers", "--forwarded-allow-ips", ",".join(serving.trusted)]
        if settings.max_requests:
            words += ["--limit-max-requests", str(settings.max_requests)]
            if settings.max_requests_jitter:
                words += ["--limit-max-requests-jitter", str(settings.max_requests_jitter)]
        return (*words, *access_log.options_of_uvicorn(serving), *settings.args)

    def _app(self, serving: Serving) -> tuple[str, ...]:
        target = serving.target
        assert target is not None  # refuse() came first
        path = target.path.removesuffix("()")
        return (path, "--factory") if target.factory or target.path.endswith("()") else (path,)
