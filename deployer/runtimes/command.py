"""Any other server: the user's own command line, which takes its port as `$PORT`."""

from __future__ import annotations

import shlex

from deployer.errors import SettingsError
from deployer.runtimes.arguments import PORT, SOCKET
from deployer.runtimes.base import Development, Serving
from deployer.runtimes.check import import_check

PYTHON = ".venv/bin/python"


class Command:
    """`runtime.command`, split into words as a shell would, run without a shell."""

    name = "command"
    takes_socket = False  # nobody knows
    race = True
    reload_check: tuple[str, ...] = ()

    def refuse(self, serving: Serving) -> SettingsError | None:
        """Return a missing command, one that never uses the port, or one that needs a shell."""
        text = serving.settings.command
        if not text:
            return SettingsError(
                "runtime.server is command, but runtime.command is missing",
                hint="write runtime: {command: PROGRAM … $PORT}",
            )
        try:
            words = self.command(serving)
        except SettingsError as error:
            return error
        if any(mark in words for mark in ("&&", "||", "|", ";", "&", ">", "<")):
            return SettingsError("runtime.command runs without a shell", hint="write sh -c '… exec SERVER …' around it")
        place = SOCKET if serving.at_sockets else PORT
        if not any(place in word for word in words):
            return SettingsError(
                f"runtime.command does not use {place}, so deploy could not reach it", hint=f"have it listen at {place}"
            )
        return None

    def refuse_reload(self, workers: int, *, same: bool) -> str | None:
        """Always: its reaction to SIGHUP is unknown."""
        return "has no defined reaction to SIGHUP"

    def requires(self, serving: Serving) -> tuple[str, ...]:
        """Unknown here; the check of the release shows what is missing."""
        return ()

    def command(self, serving: Serving) -> tuple[str, ...]:
        """Return its words. Programs of the virtualenv are found by PATH."""
        text = (serving.settings.command or "").replace("${PORT}", PORT).replace("${DEPLOY_SOCKET}", SOCKET)
        try:
            return tuple(shlex.split(text)) + serving.settings.args
        except ValueError as error:
            raise SettingsError(
                "runtime.command cannot be read", cause=str(error), hint="close each quotation mark in it"
            ) from error

    def command_with_socket(self, serving: Serving) -> tuple[str, ...]:
        """None: it opens its port itself."""
        return ()

    def development(self, serving: Serving) -> Development:
        """Return its words as they are: it reloads only by its own means."""
        return Development(self.command(serving), module=False)

    def variables(self, serving: Serving) -> dict[str, str]:
        """None."""
        return {}

    def files(self, serving: Serving) -> dict[str, str]:
        """None."""
        return {}

    def check(self, serving: Serving) -> tuple[str, ...]:
        """Import the app where its name is known, else nothing."""
        return import_check(serving, python=PYTHON) if serving.target else ("true",)
