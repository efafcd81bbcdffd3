"""What a runtime is: the server process that runs the app, described and never executed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from deployer.errors import SettingsError
from deployer.settings.models import Runtime as RuntimeSettings


@dataclass(frozen=True)
class Target:
    """The app to serve: `module:attribute` (or `module:factory()`), and its interface, as found in the code."""

    path: str
    interface: Literal["asgi", "wsgi"]
    factory: bool = False


@dataclass(frozen=True)
class Serving:
    """One way of serving one app on one host: all that a runtime may look at.

    `address` is what to bind, the port coming as `$PORT` when the instance starts; or the folder of the instances' UNIX
    sockets, the path of its own coming as `$DEPLOY_SOCKET`. `workers` is the settled number for this host. `trusted`
    are the addresses whose forwarded headers count. `env` is the app's own environment, without secrets. `pythonpath`
    are folders of the release, relative to it, that the app is imported from beside its root. `search` are the user's
    template folders. `release` is the id of the release, or what stands for it. `worker_class` is the class of
    gunicorn's workers as the code and its requirements tell; "": as the settings say.
    """

    app: str
    target: Target | None
    settings: RuntimeSettings
    address: str
    workers: int
    release: str = ""
    trusted: tuple[str, ...] = ("127.0.0.1",)
    env: Mapping[str, str] = field(default_factory=dict)
    pythonpath: tuple[str, ...] = ()
    search: tuple[Path, ...] = ()
    worker_class: str = ""

    @property
    def at_sockets(self) -> bool:
        """Whether it listens at UNIX sockets, not at ports."""
        return self.address.startswith("/")

    @property
    def at_ports(self) -> Serving:
        """The same at a port of its own machine, where it would listen at a UNIX socket."""
        return replace(self, address="127.0.0.1", trusted=("127.0.0.1",)) if self.at_sockets else self


@dataclass(frozen=True)
class Development:
    """What `deploy dev` runs in the folder of the code. `module`: the words follow the project's own interpreter.

    `$PORT` is replaced in the words, and `$DEPLOY_SLOT` by the folder that `files` (name → content) are written to.
    """

    words: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    module: bool = True


class Runtime(Protocol):
    """One server. Pure: the same input gives the same words.

    `takes_socket`: it can serve from a listening socket that it is given. `race`: when it stops, it closes connections
    that it has accepted and not yet read a request from, so only a balancer that drained it first makes that unseen.
    `reload_check`: words for the release's `run` with which it only shows whether a reload would load the app.
    """

    name: str
    takes_socket: bool
    race: bool
    reload_check: tuple[str, ...]

    def refuse(self, serving: Serving) -> SettingsError | None:
        """Return why this server cannot serve the app so (one process that recycles …), with the fix as hint; None if
        it can.

        That it serves apps of this interface at all is known already. The message begins with the key that is wrong
        (`runtime.args has …`), so that it gets that key's file and line.
        """

    def refuse_reload(self, workers: int, *, same: bool) -> str | None:
        """Return why SIGHUP does not bring so many workers to a release, in words that follow the server's name.

        `same`: it is the release that they serve already. None: it does, and a failed one costs no request.
        """

    def requires(self, serving: Serving) -> tuple[str, ...]:
        """Return distributions that must be in the virtualenv (`uvicorn`, `gunicorn`, `uvicorn-worker`)."""

    def command(self, serving: Serving) -> tuple[str, ...]:
        """Return the words of the command, run in the release folder. The word part `$PORT` is replaced at start.

        The first word is `.venv/bin/python`, relative, so that neither cwd nor `sys.prefix` keeps a link in it.
        """

    def command_with_socket(self, serving: Serving) -> tuple[str, ...]:
        """Return the same where the port's listening socket comes as descriptor 3 (`LISTEN_FDS`); none without the
        ability."""

    def development(self, serving: Serving) -> Development:
        """Return how `deploy dev` runs the same app here: one worker, a debug log, a reload at every change of its
        code."""

    def variables(self, serving: Serving) -> dict[str, str]:
        """Return environment variables for the server itself, which older versions of it may ignore.

        The app's own win.
        """

    def files(self, serving: Serving) -> dict[str, str]:
        """Return config files to render into the release: relative path → content. May be empty."""

    def check(self, serving: Serving) -> tuple[str, ...]:
        """Return a command, run in the built release before anything is changed, that exits 0 when the app can be
        loaded.

        Its output must end with the cause when it cannot (ImportError, attribute missing …).
        """
