"""What `deploy.yaml` leaves out, read from the app's code and its requirements; every choice comes with its reason."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.utils import canonicalize_name

from deployer.agent.model.supervision import USUALLY_HEALTHY
from deployer.errors import SettingsError
from deployer.settings.inference.app import hints
from deployer.settings.inference.app.apps import Apps, Candidate, Interface
from deployer.settings.inference.app.choice import ambiguous, choose
from deployer.settings.inference.app.modules import Code, read_code
from deployer.settings.inference.app.routes import Routes
from deployer.settings.inference.app.sqlite import find_sqlite
from deployer.settings.inference.requirements import Requirements, read_requirements
from deployer.settings.inference.server import effect, versions
from deployer.settings.inference.server.gunicorn_file import NAME as GUNICORN_FILE
from deployer.settings.inference.server.gunicorn_file import GunicornFile, read_gunicorn_file
from deployer.settings.inference.server.project_script import instead, not_installed, own_command
from deployer.settings.inference.server.worker_class import (
    OLD_UVICORN_WORKER,
    UVICORN_WORKER,
    WorkerClass,
    worker_class,
)
from deployer.settings.models import Settings
from deployer.settings.validation_errors import nearest

_MOST_NAMED = 3
_NEEDS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn",),
    "gunicorn": ("gunicorn",),
    "gunicorn+uvicorn": ("gunicorn",),
    "gunicorn-asgi": ("gunicorn",),
    "command": (),
}
_INTERFACES: dict[str, Interface] = {
    "uvicorn": "asgi",
    "gunicorn+uvicorn": "asgi",
    "gunicorn-asgi": "asgi",
    "gunicorn": "wsgi",
}
_WEB: dict[str, Interface] = {
    "fastapi": "asgi", "starlette": "asgi", "litestar": "asgi", "quart": "asgi", "flask": "wsgi", "bottle": "wsgi",
    "pyramid": "wsgi",
}  # fmt: skip


class Reason(NamedTuple):
    """One inferred value: `what` key of deploy.yaml, its `value` as text, and `why`."""

    what: str
    value: str
    why: str


@dataclass(frozen=True)
class AppTarget:
    """The app to serve. `path` is `module:attribute` without parentheses; `factory`: it is called to get the app."""

    path: str
    interface: Interface
    factory: bool = False


@dataclass(frozen=True)
class Inferred:
    """Settings completed from the code.

    `target` is None only for server `command`. `pythonpath` are folders of the release that must be importable beside
    its root (`src`). `health_path` None: no health route is known. `python_version` None: any that `python_range`
    (`requires-python` as written, or None) allows. `installer` `auto`: uv where the host has it, else pip;
    `requirements_file` is what is installed from. `missing` are distributions that the server needs and the
    requirements lack; `workers` is the class of gunicorn's workers. `gunicorn_file` is the app's own, and `left_aside`
    what of it does not count, which is among the `warnings` for the plan too. `refused`: why the server cannot serve
    with these settings, raised before a host is asked. `unread` is as in `Requirements`, where
    nothing says what else installs. `sqlite` is where the code names a file of SQLite, empty if it does not.
    """

    target: AppTarget | None
    server: str
    health_path: str | None
    python_version: str | None
    python_range: str | None
    installer: Literal["auto", "uv", "pip", "none"]
    requirements_file: str | None
    websockets: bool
    framework: str | None
    pythonpath: tuple[str, ...]
    missing: tuple[str, ...]
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...] = ()
    workers: WorkerClass = field(default_factory=WorkerClass)
    gunicorn_file: GunicornFile = field(default_factory=GunicornFile)
    left_aside: tuple[str, ...] = ()
    refused: SettingsError | None = None
    unread: tuple[str, str] | None = None
    sqlite: str = ""

    def require_server(self) -> None:
        """Raise SettingsError when the server could not serve the app: the settings, its own file for it, what it
        lacks.

        `missing_server` when the requirements lack something that it needs.
        """
        if self.refused:
            raise self.refused
        self.gunicorn_file.require_harmless()
        if self.unread:
            file, way = self.unread
            raise SettingsError(
                f"a push cannot install from {file}",
                file=file.partition(" ")[0],
                step="plan",
                cause="it reads uv.lock, pylock.toml, requirements.txt and [project] in pyproject.toml",
                hint=f"type: {way}; or list its packages in python.with, and write installer: pip",
            )
        if self.missing:
            nothing = "but the project declares no dependencies (requirements.txt, uv.lock, pylock.toml or [project])"
            lacking = f"which {self.requirements_file} lacks" if self.requirements_file else nothing
            raise SettingsError(
                f"{self._served_by} needs {' and '.join(self.missing)}, {lacking}",
                file=self.requirements_file,
                step="plan",
                hint=f"add to deploy.yaml: python: {{with: [{', '.join(self.missing)}]}}",
                code="missing_server",
            )

    @property
    def _served_by(self) -> str:
        of_class = set(self.missing) & set(self.workers.needs) and self.server == "gunicorn"
        return f"the server {self.server}" + (f" with worker_class {self.workers.name}" if of_class else "")


def infer(folder: Path, settings: Settings) -> Inferred:
    """Complete `settings` from the source in `folder` (`source.path` with `source.subdir`), importing nothing.

    Raises: SettingsError when no app is found or several could be meant, with the line to add.
    """
    return _Inference(folder, settings).result()


class _Inference:
    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        python = settings.python
        self.own: GunicornFile = GunicornFile()
        self.folder = folder
        self.requirements: Requirements = read_requirements(folder, python.extras, python.groups, python.with_)
        self.code: Code = read_code(folder)
        self.apps = Apps(self.code)
        self.reasons: list[Reason] = []
        self.warnings: list[str] = []
        self.left_aside: list[str] = []

    def result(self) -> Inferred:
        candidate, target = self._target()
        server = self._server(target)
        if "gunicorn" in _NEEDS.get(server, ()):
            self._read_own(server)
        self._warn_of_own_commands()
        runtime = self.settings.runtime
        workers = worker_class(server, runtime, self.own, self.requirements, interface_is_known=candidate is not None)
        self.warnings += workers.warnings
        self.warnings += versions.remarks(server, runtime, self.requirements)
        self.warnings += effect.remarks(server, runtime)
        routes = Routes(self.apps)
        socket = routes.websockets()
        health, unread = self._health(routes), self._unread()
        return Inferred(
            target=target,
            server=server,
            health_path=health,
            python_version=self._python(),
            python_range=self.requirements.python_range,
            installer=self._installer(),
            requirements_file=self.requirements.file,
            websockets=self._websockets(socket, server),
            framework=candidate.kind.framework if candidate else None,
            pythonpath=(candidate.root,) if candidate and candidate.root else (),
            missing=() if unread else self._missing(server, workers),
            reasons=tuple(self.reasons),
            warnings=tuple(self.warnings),
            left_aside=tuple(self.left_aside),
            workers=workers,
            gunicorn_file=self.own,
            sqlite=find_sqlite(self.code, self.folder),
            refused=self._other_interface(server, target)
            or workers.refused
            or versions.too_old(server, runtime, self.requirements)
            or effect.refused(server, runtime),
            unread=unread,
        )

    def _unread(self) -> tuple[str, str] | None:
        """Return a file of dependencies that nothing is installed from; none where the settings say what installs."""
        unread = self.requirements.unread if self.settings.python.installer == "auto" else None
        if unread:
            self.warnings.append(f"a push cannot install from {unread[0]}: type {unread[1]}")
        return unread

    def _warn_of_own_commands(self) -> None:
        """Commands in the settings that are scripts of the project itself."""
        settings = self.settings
        hooks = {"hooks.prepare": settings.hooks.prepare, "hooks.release": settings.hooks.release}
        commands = {
            "runtime.command": settings.runtime.command,
            **{f"processes.{name}": process.command for name, process in settings.processes.items()},
            **{f"schedules.{name}": schedule.command for name, schedule in settings.schedules.items()},
            **{name: hook.command for name, hook in hooks.items() if hook},
        }
        for where, command in commands.items():
            script = own_command(self.folder, self.requirements.scripts, command or "")
            if script:
                self.warnings.append(f"{where}: {not_installed(script.name)}: write {script.instead}")

    def _read_own(self, server: str) -> None:
        """Read the app's own `gunicorn.conf.py`, and remark on its ignored settings."""
        self.own = read_gunicorn_file(self.folder)
        if (self.folder / "gunicorn_conf.py").is_file():
            self.left_aside.append(f"gunicorn_conf.py is not read: only {GUNICORN_FILE} is")
        decided = self.settings.runtime.model_fields_set - {"workers"}
        if server != "gunicorn":
            decided = {*decided, "worker_class"}
        if "access_log" in decided:
            decided = {*decided, "accesslog", "logger_class"}
        self.left_aside += self.own.left_aside(decided)
        self.warnings += self.left_aside

    def _note(self, what: str, value: str, why: str) -> None:
        self.reasons.append(Reason(what, value, why))

    def _target(self) -> tuple[Candidate | None, AppTarget | None]:
        runtime = self.settings.runtime
        if runtime.app is not None:
            return self._named(runtime.app)
        if runtime.command is not None:
            return None, None
        chosen = choose(self.apps.candidates(), self.requirements)
        if chosen is None:
            raise self._no_app()
        candidate, why = chosen
        self._note("runtime.app", candidate.path + ("()" if candidate.factory else ""), why)
        return candidate, AppTarget(candidate.path, candidate.kind.interface, candidate.factory)

    def _no_app(self) -> SettingsError:
        unread = _unread_files(self.code.unreadable)
        own = hints.serves_itself(self.code)
        if own is None:
            return SettingsError(
                "no ASGI or WSGI app was found in the code",
                hint="add to deploy.yaml: runtime: {app: module:attribute}, or {server: command, command: …}",
                log=unread,
                code="no_app",
            )
        scripts = {name: instead(self.folder, entry) for name, entry in self.requirements.scripts.items()}
        command = next(iter(scripts.values()), "COMMAND")
        return SettingsError(
            f"no ASGI or WSGI app was found in the code, which starts its own server ({own.name} in {own.where})",
            hint=f'add to deploy.yaml: runtime: {{command: "{command} … $PORT"}}, the command that serves at a port',
            log=[*(f"the project's own command {name} is on hosts: {way}" for name, way in scripts.items()), *unread],
            code="no_app",
        )

    def _named(self, written: str) -> tuple[Candidate | None, AppTarget]:
        path = written.removesuffix("()")
        matches = [candidate for candidate in self.apps.candidates() if candidate.path == path]
        if len(matches) > 1:
            raise ambiguous(matches)
        if matches:
            return matches[0], AppTarget(path, matches[0].kind.interface, matches[0].factory)
        self._must_be_there(path, server_is_set=self.settings.runtime.server != "auto")
        self._must_exist(path)
        interface = _INTERFACES.get(self.settings.runtime.server) or self._guessed()
        if interface is None:
            raise SettingsError(
                f"runtime.app is {path}, but the code does not show whether it is an ASGI or a WSGI app",
                step="plan",
                hint=f"write in deploy.yaml: runtime: {{app: {written}, server: uvicorn}}, or gunicorn for WSGI",
                code="no_interface",
            )
        return None, AppTarget(path, interface, written.endswith("()"))

    def _must_be_there(self, path: str, *, server_is_set: bool) -> None:
        """The module of an app named in the settings is to be in the code, unless a package brings it.

        `server_is_set`: the settings say the server, as they have to for an app of a package.
        """
        name, _, attribute = path.partition(":")
        top = name.partition(".")[0]
        is_own_module, is_required = self.code.has(top), canonicalize_name(top) in self.requirements.names
        if self.code.may_have(name) or self.settings.hooks.build or (is_required and not is_own_module):
            return
        near = nearest(name, [module.name for module in self.code.modules])
        apps = [candidate.path for candidate in self.apps.candidates()]
        likely = [app for app in apps if app.partition(":")[0] == near] or ([f"{near}:{attribute}"] if near else [])
        fix = f"did you mean {likely[0]}?" if likely else _instead(apps)
        what = f"runtime.app is {path}, but the code has no module {name}"
        if is_own_module or not server_is_set:
            more = (
                ""
                if is_own_module
                else " (for an app of an installed package, deploy.yaml must set runtime.server too)"
            )
            raise SettingsError(what, step="plan", hint=fix + more)
        self.warnings.append(f"{what}: an installed package must provide it; {fix}")

    def _must_exist(self, path: str) -> None:
        """An app named in the settings whose module is here but has no such name is a mistake worth stopping for."""
        name, _, attribute = path.partition(":")
        try:
            module = self.code[name]
        except KeyError:
            return
        known = {
            *module.imports,
            *module.assigned,
            *(getattr(statement, "name", "") for statement in module.statements),
        }
        if attribute.partition(".")[0] in known or "*" in known or "__getattr__" in known:
            return
        app_names = sorted(app.attribute for app in self.apps.candidates() if app.module == name)
        near = nearest(attribute, app_names or known)
        raise SettingsError(
            f"runtime.app is {path}, and {module.file} has no {attribute}",
            step="plan",
            hint=f"did you mean {name}:{near}?" if near else _instead([f"{name}:{app_name}" for app_name in app_names]),
        )

    def _guessed(self) -> Interface | None:
        kinds = {_WEB[name] for name in self.requirements.names if name in _WEB}
        return kinds.pop() if len(kinds) == 1 else None

    def _server(self, target: AppTarget | None) -> str:
        runtime = self.settings.runtime
        if runtime.server != "auto":
            return runtime.server
        if target is None or runtime.command is not None:
            return "command"
        server, why = self._usual_server(target.interface)
        self._note("runtime.server", server, why)
        return server

    def _other_interface(self, server: str, target: AppTarget | None) -> SettingsError | None:
        """Return a server of the settings that serves apps of the other interface."""
        if target is None or _INTERFACES.get(server, target.interface) == target.interface:
            return None
        kind, other = ("an ASGI app", "gunicorn+uvicorn") if target.interface == "asgi" else ("a WSGI app", "gunicorn")
        runtime = self.settings.runtime
        own = "." in runtime.worker_class and runtime.worker_class not in (UVICORN_WORKER, OLD_UVICORN_WORKER)
        more = ", and take worker_class out" if "worker_class" in runtime.model_fields_set and not own else ""
        return SettingsError(
            f"runtime.server is {server}, which does not serve {target.path}: it is {kind}",
            step="plan",
            hint=f"write runtime: {{server: {other}}}{more}",
            code="interface",
        )

    def _usual_server(self, interface: Interface) -> tuple[str, str]:
        names = self.requirements.names
        where = self.requirements.file or "python.with"
        if interface == "wsgi":
            return "gunicorn", "a WSGI app"
        if "gunicorn" in names and names & {"uvicorn", "uvicorn-worker"}:
            return "gunicorn+uvicorn", f"an ASGI app, with gunicorn and uvicorn in {where}"
        if "gunicorn" in names:
            return "gunicorn-asgi", f"an ASGI app, with gunicorn alone in {where}"
        return "uvicorn", "an ASGI app"

    def _missing(self, server: str, workers: WorkerClass) -> tuple[str, ...]:
        if self.settings.python.installer == "none":
            return ()
        needed = (*_NEEDS.get(server, ()), *workers.needs)
        return tuple(name for name in dict.fromkeys(needed) if name not in self.requirements.names)

    def _health(self, routes: Routes) -> str | None:
        if self.settings.health.path is not None:
            return self.settings.health.path
        route = routes.health()
        if route is None:
            self.warnings.append(f"no health route was found: / is checked, and {USUALLY_HEALTHY} is healthy")
            return None
        self._note("health.path", route.path, f"routed in {route.file}:{route.line}")
        return route.path

    def _python(self) -> str | None:
        if self.settings.python.version is not None:
            return self.settings.python.version
        if self.requirements.python is not None:
            self._note("python.version", self.requirements.python, str(self.requirements.python_file))
        elif self.requirements.python_ignored is not None:
            written = self.requirements.python_ignored
            why = f".python-version says {written}, which is ignored: only CPython versions such as 3.12 are supported"
            self._note("python.version", "the host's own", why)
        return self.requirements.python

    def _installer(self) -> Literal["auto", "uv", "pip", "none"]:
        chosen = self.settings.python.installer
        if chosen != "auto":
            return chosen
        if self.requirements.file == "uv.lock":
            self._note("python.installer", "uv", "uv.lock")
            return "uv"
        if self.requirements.file is None and not self.settings.python.with_:
            self._note("python.installer", "none", "no uv.lock, pylock.toml, requirements.txt or pyproject.toml")
            return "none"
        self._note("python.installer", "auto", f"from {self.requirements.file or 'python.with'}")
        return "auto"

    def _websockets(self, where: str | None, server: str) -> bool:
        uses_uvicorn = server in ("uvicorn", "gunicorn+uvicorn")
        if where and uses_uvicorn and not self.requirements.names & {"websockets", "wsproto"}:
            self.warnings.append(
                f"{where} uses websockets, for which uvicorn needs a package: python: {{with: [websockets]}}"
            )
        if where and server == "gunicorn-asgi":
            self.warnings.append(
                f"{where} uses websockets: when an instance stops, gunicorn's own ASGI worker holds them for "
                "runtime.graceful_timeout and then cuts them without a close frame; uvicorn sends code 1012 at once"
            )
        return where is not None


def _unread_files(files: Sequence[str]) -> list[str]:
    """Return one line about the files that do not parse; none where all do."""
    if not files:
        return []
    more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
    reason = f"the Python {platform.python_version()} that runs deploy cannot parse newer syntax"
    return [f"could not be read ({reason}): {', '.join(files[:_MOST_NAMED])}{more}"]


def _instead(apps: list[str]) -> str:
    """Return what `runtime.app` could say, where nothing is like what it says."""
    if apps:
        return f"the apps there are {', '.join(apps)}"
    return "name the app as module:attribute, or leave runtime.app out to have it detected"
