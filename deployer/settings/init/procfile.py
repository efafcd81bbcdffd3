"""A `Procfile`, as Heroku and honcho read it, in the words of `deploy.yaml`: what `deploy init` takes over from it.

    web: gunicorn shop.wsgi --workers 4          → runtime
    release: python manage.py migrate            → hooks.release, and hooks.prepare for `collectstatic`
    worker: celery -A shop worker                → processes, and whatever else has a line

Nothing is dropped in silence: what has no place in the settings is among the `remarks`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.errors import SettingsError
from deployer.settings.inference.server.options import GUNICORN, UVICORN, Options
from deployer.settings.load import shown
from deployer.settings.values import APP_NAME, QUOTED, find_operators, one_line, one_program

FILE = "Procfile"
_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")
_WORD = re.compile(rf"(?:{QUOTED}|[^\s\\'\"])*")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PORT = re.compile(r"\$\{PORT(:?[-?=+][^}]*)?\}|\$PORT\b")
_RUNNERS = re.compile(r"(?:poetry|pipenv|pdm|uv)\s+run\s+(?=[^-\s])")
"""They find the virtualenv, which is first in PATH anyway."""
_COLD_STOP = re.compile(r"(?<!\S)REMAP_SIGTERM=\S*\s+")
"""Celery's: SIGTERM is then taken as SIGQUIT. Heroku wants that, since it kills soon after; a push waits for jobs."""
_COLLECTS = re.compile(r"\bmanage\.py\s+collectstatic\b|\bdjango-admin\s+collectstatic\b")
_CLOCKS = ("beat", "celerybeat", "scheduler", "rqscheduler", "clock", "cron", "apscheduler")
_DEVELOPMENT = re.compile(r"manage\.py\s+runserver|\bflask\s+run\b|^python\S*\s+\S+\.py\b")


@dataclass(frozen=True)
class Procfile:
    """What a Procfile comes to. `runtime` and `processes` are as deploy.yaml has them; `whys` says why a process is a
    singleton; `remarks` are for the user, one line each."""

    runtime: Mapping[str, Any] = field(default_factory=dict)
    release: str | None = None
    prepare: str | None = None
    processes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    whys: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def read(folder: Path) -> Procfile:
    """Return the Procfile of an app; an empty one where there is none. SettingsError for one that cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return Procfile()
    try:
        return parse_procfile(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"{shown(path)} cannot be read: {why}", file=shown(path)) from None


def parse_procfile(text: str) -> Procfile:
    """Return what the lines of a Procfile come to."""
    reading = _Reading()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            reading.remark(f"line {number} is not NAME: COMMAND, and is left out: {stripped}")
        else:
            reading.line(match[1], match[2])
    return reading.result()


class _Reading:
    """The lines so far."""

    def __init__(self) -> None:
        self._web: str | None = None
        self._release: str | None = None
        self._prepare: str | None = None
        self._processes: dict[str, dict[str, Any]] = {}
        self._whys: dict[str, str] = {}
        self._remarks: list[str] = []

    def remark(self, text: str) -> None:
        self._remarks.append(text)

    def line(self, name: str, command: str) -> None:
        if name == "web":
            self._web = command
        elif name == "release":
            self._release = self._without_files(_RUNNERS.sub("", command, count=1))
        else:
            self._process(name, command)

    def result(self) -> Procfile:
        runtime = self._runtime(self._web) if self._web else {}
        return Procfile(runtime, self._release, self._prepare, self._processes, self._whys, tuple(self._remarks))

    def _without_files(self, release: str) -> str | None:
        """Return the release command without its `collectstatic`, whose files every host needs; None if nothing is
        left."""
        operators = [operator for operator, _ in find_operators(release)]
        if "(" in operators:
            return release
        between = ["", *(operator for operator in operators if operator in ("&&", ";"))]
        before, last = _last_command(release)
        kept = ""
        for operator, command in zip(between, (*before, last), strict=True):
            if not self._collects(command, "release"):
                kept += f" {operator} {command}" if kept else command
        return kept or None

    def _collects(self, command: str, line: str) -> bool:
        """Return whether a command collects static files; then it is the prepare hook."""
        if not _COLLECTS.search(command) or self._prepare not in (None, command):
            return False
        self._prepare = _RUNNERS.sub("", command, count=1)
        self.remark(f"{line} ran {command!r}: here it runs on every host, before the new release counts")
        return True

    def _process(self, written: str, command: str) -> None:
        name = re.sub(r"^[^a-z]+", "", written.lower().replace("_", "-"))
        if not APP_NAME.match(name) or name in self._processes:
            self.remark(f"{written} cannot be the name of a process here, and is left out: {command}")
            return
        if name != written:
            self.remark(f"{written} is called {name} here: letters, digits and dashes")
        cold = _COLD_STOP.search(command)
        if cold:
            command = _COLD_STOP.sub("", command)
            why = "with it Celery drops its jobs at the SIGTERM of a push, in place of ending them"
            self.remark(f"{name}: {cold[0].strip()} is left out: {why}")
        try:
            program = _program(command)
        except ValueError as error:
            self.remark(f"{written} is left out: {error}")
            return
        self._processes[name] = {"command": program}
        why = _clock(name, command)
        if why:
            self._processes[name]["singleton"] = True
            self._whys[name] = why
        if _stays_a_shell(command):
            self.remark(f"{name} is more than one program, and SIGTERM comes to its shell alone: see that it ends them")
        if _PORT.search(command):
            self.remark(f"{name} uses $PORT, but a process has no port: write it as web, or as another app")
        names = sorted(set(re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", command)) - {"PORT"})
        if names:
            self.remark(f"{name} uses {', '.join('$' + variable for variable in names)}: add it to env or secrets")

    def _runtime(self, written: str) -> dict[str, Any]:
        earlier_commands, command = _last_command(written)
        for earlier_command in earlier_commands:
            self._ran_before(earlier_command)
        try:
            words = shlex.split(_RUNNERS.sub("", command, count=1))
        except ValueError as error:
            self.remark(f"web is left out, since it cannot be parsed: {error}")
            return {}
        names = []
        while words and (_ASSIGNMENT.match(words[0]) or words[0] in ("exec", "env")):
            names.append(words.pop(0).partition("=")[0])
        if words[:2] in (["python", "-m"], ["python3", "-m"]):
            words = words[2:]
        server = Path(words[0]).name if words else ""
        if server not in ("gunicorn", "uvicorn"):
            return self._other(command, words)
        for name in names:
            if name not in ("exec", "env"):
                self.remark(f"web sets {name}: write it under env, where every command sees it")
        return self._server(server, words[1:])

    def _ran_before(self, command: str) -> None:
        folder = re.fullmatch(r"cd\s+(\S+)", command)
        if folder:
            setting = f"source: {{subdir: {folder[1]}}}"
            self.remark(
                f"web goes to {folder[1]} first, which is left out: write {setting} if all of the app lies there"
            )
        elif self._collects(command, "web"):
            pass
        elif self._release is None and re.search(r"\b(migrate|upgrade)\b", command):
            self._release = _RUNNERS.sub("", command, count=1)
            self.remark(f"web ran {command!r} at each start: here it runs once per push, before the first wave")
        else:
            self.remark(f"web ran {command!r} first, which is left out: hooks.prepare runs on every host of a push")

    def _other(self, command: str, words: Sequence[str]) -> dict[str, Any]:
        """Return a server that is known by its command alone."""
        text = _PORT.sub("$PORT", command)
        if "$PORT" not in text and "gunicorn" in words:  # behind a wrapper; it knows PORT by itself
            text += " --bind 0.0.0.0:$PORT"
        if _DEVELOPMENT.search(" ".join(words)) or "$PORT" not in text:
            self.remark(f"web runs {command!r}, which is left out: the server is chosen by the code")
            return {}
        try:
            program = _program(text)
        except ValueError as error:
            self.remark(f"web is left out: {error}")
            return {}
        if "$" in program.replace("$PORT", "") and not program.startswith("sh -c "):
            program = f"sh -c {shlex.quote('exec ' + program)}"
        return {"server": "command", "command": program}

    def _server(self, server: str, words: Sequence[str]) -> dict[str, Any]:
        keys: dict[str, Any] = {"server": server}
        args: list[str] = []
        known, short = (GUNICORN, _SHORT) if server == "gunicorn" else (UVICORN, "")
        for option, value in _options(words, short, known.flags):
            self._option(keys, args, option, value, known)
        if server == "gunicorn":
            kind = str(keys.get("worker_class", "")).lower()
            keys["server"] = "gunicorn+uvicorn" if "uvicorn" in kind else "gunicorn-asgi" if kind == "asgi" else server
            if keys["server"] != server:
                del keys["worker_class"]
        if "max_requests_jitter" in keys and "max_requests" not in keys:
            self.remark("web: the jitter of --max-requests is left out, since there is no --max-requests")
            del keys["max_requests_jitter"]
        return {**keys, **({"args": args} if args else {})}

    def _option(self, keys: dict[str, Any], args: list[str], option: str, value: str, known: Options) -> None:
        """One option of the server: in its key, among `args`, or in a remark."""
        whole = f"{option} {value}".strip()
        key = known.keys.get(known.short.get(option, option))
        if option == "":
            self._target(keys, value)
        elif option == "--factory":
            keys["app"] = f"{keys['app']}()" if "app" in keys else "()"
        elif option in _DECIDED:
            anywhere = _DECIDED[option] == _PLACE and value in ("0.0.0.0", "::", "[::]")
            if not (anywhere or value == "-" or _PORT.search(value)):
                self.remark(f"web: {whole} is left out: {_DECIDED[option]}")
        elif "$" in value:
            usual = re.search(r":?-([^}]*)\}", value)
            former_default = f" (it was {usual[1]} where that is not set)" if usual else ""
            self.remark(
                f"web: {whole} depends on the environment{former_default}, and is left out: see runtime.{key or 'args'}"
            )
        elif key is None:
            refused = known.refused([option])
            if refused:
                self.remark(f"web: {whole} is left out: {refused[1]}")
            else:
                args.extend(word for word in (option, value) if word)
        elif key == "worker_class":
            keys[key] = value
        elif value.isdigit() and (int(value) or key != "workers"):
            keys[key] = int(value)
        else:
            self.remark(f"web: {whole} is left out: runtime.{key} takes a number")

    def _target(self, keys: dict[str, Any], value: str) -> None:
        name = value if ":" in value else value + ":application"
        if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?", name):
            keys["app"] = name + keys.get("app", "")
        else:
            self.remark(f"web: the app {value} is left out: here it is module:attribute")


_PLACE = "the slot of the instance decides it"
_LINES = "the supervisor keeps the standard streams, and logs go there"
_FOLDER = "the server runs in the folder of its release; see source.subdir"
_DECIDED = {
    **dict.fromkeys(("--bind", "-b", "--host", "--port", "--uds", "--fd"), _PLACE),
    **dict.fromkeys(("--chdir", "--app-dir"), _FOLDER),
    **dict.fromkeys(("--log-file", "--error-logfile"), _LINES),
    **dict.fromkeys(("--config", "-c"), "a gunicorn.conf.py of the app's own is read, of that name"),
    **dict.fromkeys(("--pid", "-p", "--daemon", "-D"), "the supervisor sees the server itself"),
    **dict.fromkeys(("--user", "-u", "--group", "-g"), "see user"),
    "--preload": "with it a reload would silently keep the old code",
    "--reload": "a release never changes",
    "--proxy-headers": "it is always so, for the balancers' addresses",
    "--forwarded-allow-ips": "these are the balancers",
}
_SHORT = "bwktcpugenmR"
"""Short options of gunicorn that take a value, which may follow at once: `-w4`."""


def _options(words: Sequence[str], short: str, flags: Collection[str]) -> list[tuple[str, str]]:
    """(option, value) in order; ("", the app) for a word of its own."""
    options: list[tuple[str, str]] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            options.append(("", word))
        elif word in flags:
            options.append((word, ""))
        elif not word.startswith("--") and word[1:2] in short and len(word) > 2:
            options.append((word[:2], word[2:]))
        elif equals:
            options.append((name, value))
        else:
            options.append((word, remaining.pop(0) if remaining else ""))
    return options


def _clock(name: str, command: str) -> str:
    """Return why two of this process would do everything twice; empty for others."""
    words = re.findall(r"[A-Za-z_]+", command.lower())
    if any(part in _CLOCKS for part in re.split(r"[-_]", name)):
        return f"its name suggests a clock: two of {name} would start everything twice"
    if re.search(r"\bcelery\b.*\sworker\b.*\s(-B|--beat)(\s|$)", command):
        return "a beat runs within it (-B): two of it would start everything twice"
    clock = next((word for word in words if word in _CLOCKS), None)
    return f"{clock} is a clock: two of it would start everything twice" if clock else ""


def _program(command: str) -> str:
    """Return a command line as `processes` takes it: one program, with a shell around it only where it needs one."""
    text = _RUNNERS.sub("", one_line(command), count=1)
    try:
        one_program(text)
    except ValueError:
        operators = {operator for operator, _ in find_operators(text)}
        if not operators:
            raise
        if operators & {"&&", ";"} and not _stays_a_shell(text):
            last = _last_command(text)[1]
            text = text[: len(text) - len(last)] + _exec(last)
        elif not _stays_a_shell(text):
            text = _exec(text)
        return f"sh -c {shlex.quote(text)}"
    while text.startswith("exec "):
        text = text.removeprefix("exec ").lstrip()
    return f"env {text}" if _ASSIGNMENT.match(text) else text


def _stays_a_shell(command: str) -> bool:
    """Return whether no one program is left in the end, which could take the shell's place."""
    operators = {operator for operator, _ in find_operators(command)}
    return bool(operators & {"|", "||", "&"}) or ("(" in operators and bool(operators & {"&&", ";"}))


def _exec(command: str) -> str:
    """Return the command in place of the shell, so that it gets the signals: `A=1 exec celery`."""
    program = command
    while _ASSIGNMENT.match(program):
        program = _WORD.sub("", program, count=1).lstrip()
    return command if program.startswith("exec ") else command[: len(command) - len(program)] + "exec " + program


def _last_command(text: str) -> tuple[list[str], str]:
    """Return the commands before the last `&&` or `;`, and the one after it."""
    parts, start = [], 0
    for operator, place in find_operators(text):
        if operator in ("&&", ";"):
            parts.append(text[start:place].strip())
            start = place + len(operator)
    return parts, text[start:].strip()
