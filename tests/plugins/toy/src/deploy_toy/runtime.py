"""The adapter of the toy server: its file in the release, and the words that start it."""

from __future__ import annotations

from importlib import resources as package_data

from deployer.errors import SettingsError
from deployer.runtimes.arguments import PORT
from deployer.runtimes.base import Development, Runtime, Serving
from deployer.runtimes.check import import_check

PYTHON = ".venv/bin/python"
FILE = "toy_server.py"


class Toy(Runtime):
    """WSGI apps in one process with a thread for each request."""

    name = "toy"
    takes_socket = False
    race = True
    reload_check: tuple[str, ...] = ()

    def refuse(self, serving: Serving) -> SettingsError | None:
        """Return why it cannot serve the app: ASGI, UNIX sockets, words that it does not take."""
        target = serving.target
        if target is None or target.interface != "wsgi" or target.factory:
            return SettingsError(
                "runtime.server is toy, which serves WSGI apps alone", hint="write server: auto, or take it out"
            )
        if serving.at_sockets:
            return SettingsError("bind: unix: the toy server listens at ports alone", hint="leave bind out")
        if serving.settings.args:
            return SettingsError("runtime.args: the toy server takes none", hint="take them out")
        return None

    def refuse_reload(self, workers: int, *, same: bool) -> str | None:
        """Return that it never reloads."""
        return "has one process, which ends on SIGHUP"

    def requires(self, serving: Serving) -> tuple[str, ...]:
        """Return nothing: the server is a file of the release."""
        return ()

    def command(self, serving: Serving) -> tuple[str, ...]:
        """Return the words, which run in the release's folder."""
        assert serving.target is not None  # `refuse` came first
        return (PYTHON, FILE, serving.target.path, serving.address, PORT)

    def command_with_socket(self, serving: Serving) -> tuple[str, ...]:
        """Return nothing: it opens its port itself."""
        return ()

    def development(self, serving: Serving) -> Development:
        """Return how `deploy dev` runs it; it does not reload by itself."""
        assert serving.target is not None
        return Development(("$DEPLOY_SLOT/" + FILE, serving.target.path, serving.address, PORT), self.files(serving))

    def variables(self, serving: Serving) -> dict[str, str]:
        """Return nothing: it reads no variables."""
        return {}

    def files(self, serving: Serving) -> dict[str, str]:
        """Return the server itself."""
        return {FILE: (package_data.files("deploy_toy") / "server.py").read_text("utf-8")}

    def check(self, serving: Serving) -> tuple[str, ...]:
        """Return a command that imports the app in the built release."""
        return import_check(serving, python=PYTHON)
