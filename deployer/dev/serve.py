"""Settings → one server process here: its words, its environment, its life until Ctrl-C.

It shares the process group and the terminal of this process, as if its command had been typed: Ctrl-C and Ctrl-Z reach
it, and `breakpoint()` talks to the terminal.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer import process_tree, runtimes
from deployer.dev import interpreter
from deployer.errors import CommandError, InterruptedRun, SettingsError, UsageError
from deployer.events import Bus, Output, Warned
from deployer.plan.start import target_of
from deployer.rollout.run.invocation import Invocation
from deployer.runtimes import Serving
from deployer.runtimes.arguments import DEVELOPMENT_GRACE_S, PORT, SLOT, bracketed
from deployer.runtimes.environment import check_env, instance_variables
from deployer.settings.inference.infer import Inferred, infer
from deployer.settings.load import Loaded, load, shown
from deployer.settings.models import SecretRef
from deployer.settings.secrets import resolve_secrets
from deployer.settings.workers import Size, workers_for

ENV = "dev"
"""The environment where no other is named: `deploy.dev.yaml` is laid over deploy.yaml."""

RELEASE = "dev"
_LAST_PORT = 65535
_LOOK_S = 0.1
_ENDING_S = float(DEVELOPMENT_GRACE_S) + 5.0


@dataclass(frozen=True)
class DevServerSpec:
    """What the command line says. `port` None: that of the settings; `strict`: a secret that is missing ends it."""

    host: str = "127.0.0.1"
    port: int | None = None
    strict: bool = False


def dev(
    invocation: Invocation,
    *,
    wished: DevServerSpec,
    env: str | None = None,
    config: Path | None = None,
    output: int | None = None,
) -> None:
    """Serve the app until it ends by itself or `stop` is set, which is how it usually ends: `interrupted`, 130.

    Args:
        env: the environment whose overlay counts; `dev` by default, whatever `default_env` says.
        output: the descriptor that the app's stdout goes to; this process's own by default.

    Raises: SettingsError and UsageError before anything is started; CommandError with the server's own status when it
    ended by itself with another one than 0.
    """
    loaded = load(config, env or ENV)
    settings = loaded.settings
    folder = loaded.folder.resolve()
    inferred = infer(folder, settings)
    serving = _serving(loaded, inferred, wished.host)
    runtime = runtimes.get(inferred.server)
    refused = inferred.refused or runtime.refuse(serving)
    if refused:
        refused.step = "dev"
        loaded.place(refused)
        raise refused
    python = interpreter.find((folder, loaded.base))
    python.require(runtime.requires(serving), inferred.requirements_file)
    port = wished.port or settings.port
    variables = _environment(loaded, inferred, python, port, _secrets(loaded, invocation.bus, strict=wished.strict))
    _require_free(wished.host, port)
    if inferred.missing:
        lacking = ", ".join(inferred.missing)
        invocation.bus.emit(
            Warned(f"a push needs {lacking} too", hint=f"add to deploy.yaml: python: {{with: [{lacking}]}}")
        )
    for remark in inferred.left_aside:
        invocation.bus.emit(Warned(remark))
    development = runtime.development(serving)
    reloads = "reloads when code changes" if development.module else "reloads only by its own means"
    url = f"http://{bracketed(wished.host)}:{port}/"
    invocation.bus.emit(Output(f"{settings.app} at {url} by {inferred.server} with {shown(python.path)}; {reloads}"))
    with tempfile.TemporaryDirectory(prefix="deploy-dev-") as beside:
        for name, text in development.files.items():
            Path(beside, name).write_text(text, "utf-8")
        words = [word.replace(PORT, str(port)).replace(SLOT, beside) for word in development.words]
        argv = [str(python.path), *words] if development.module else words
        invocation.bus.flush()
        status = _live(argv, folder, variables, invocation.stop, output)
    if invocation.stop.is_set():
        invocation.record.outcome, invocation.record.exit_status = "interrupted", InterruptedRun.exit_status
    elif status:
        exit_reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise CommandError(
            f"the server ended by itself with {exit_reason}", status=128 - status if status < 0 else status, step="dev"
        )


def _serving(loaded: Loaded, inferred: Inferred, host: str) -> Serving:
    """As it would be on a host like this machine, so that what a push refuses is refused here."""
    workers, _ = workers_for(loaded.settings.runtime.workers, Size(os.cpu_count() or 1, 0))
    return Serving(
        app=loaded.settings.app,
        target=target_of(inferred),
        settings=loaded.settings.runtime,
        address=host,
        workers=workers,
        env=loaded.settings.env,
        pythonpath=inferred.pythonpath,
        worker_class=inferred.workers.name,
    )


def _secrets(loaded: Loaded, bus: Bus, *, strict: bool) -> dict[str, str]:
    """Return the secrets that can be had. One that cannot is taken from a variable of its own name, else named."""
    app_secrets = loaded.settings.app_secrets
    refs = app_secrets if isinstance(app_secrets, dict) else {name: SecretRef(env=name) for name in app_secrets}
    secrets: dict[str, str] = {}
    for name, ref in refs.items():
        try:
            secrets.update(resolve_secrets({name: ref}, loaded.base))
        except SettingsError as error:
            if name in os.environ:
                continue  # the app inherits it
            if strict:
                loaded.place(error)
                raise
            bus.emit(Warned(error.message, hint=error.hint or ""))
    return secrets


def _environment(
    loaded: Loaded, inferred: Inferred, python: interpreter.Interpreter, port: int, secrets: Mapping[str, str]
) -> dict[str, str]:
    """This process's own, with what the settings say on top, and what every command of a release sees."""
    own = loaded.settings.env
    check_env(own)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **own, **secrets}
    environment["PATH"] = os.pathsep.join([str(python.folder), environment.get("PATH", os.defpath)])
    paths = [str((loaded.folder / part).resolve()) for part in inferred.pythonpath if part not in ("", ".")]
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(
            [*paths, *([environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else [])]
        )
    if (python.folder.parent / "pyvenv.cfg").exists():
        environment["VIRTUAL_ENV"] = str(python.folder.parent)
    release_variables = instance_variables(app=loaded.settings.app, env_name=loaded.env, port=port)
    return {**environment, **release_variables, "DEPLOY_RELEASE": RELEASE}


def _require_free(host: str, port: int) -> None:
    """Raise UsageError when the port is not free: servers try for seconds, and then print many lines."""
    try:
        family_, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family_, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        why = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        other = port + 1 if port < _LAST_PORT else _LAST_PORT - 1
        raise UsageError(
            f"{bracketed(host)}:{port} is not free: {why}", step="dev", hint=f"deploy dev --port {other}"
        ) from None


def _live(argv: list[str], folder: Path, env: Mapping[str, str], stop: threading.Event, output: int | None) -> int:
    """Run the server until it ends or is to stop, leave no process of it behind, and return its exit status."""
    adopting = process_tree.become_subreaper()
    others = process_tree.descendants(os.getpid())
    try:
        server = subprocess.Popen(argv, cwd=folder, env=dict(env), stdout=output)
    except OSError as error:
        raise SettingsError(
            f"{argv[0]} cannot be started: {error.strerror}", step="dev", hint=f"the command is: {shlex.join(argv)}"
        ) from None
    started: set[int] = set()
    try:
        while not stop.wait(_LOOK_S) and server.poll() is None:
            pass
        started = process_tree.descendants(os.getpid())
        if stop.is_set():
            _end(server)
    except KeyboardInterrupt:  # a second Ctrl-C: at once
        pass
    finally:
        # Where nobody adopts them, those whose parent has died are known from before.
        left = process_tree.descendants(os.getpid()) | (set() if adopting else started)
        process_tree.kill(left - others)
        server.wait()
        process_tree.reap(within=_ENDING_S)
    return server.returncode


def _end(server: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, which also ends processes that Ctrl-C has reached, and wait for requests in flight."""
    until = time.monotonic() + _ENDING_S
    server.send_signal(signal.SIGTERM)
    while server.poll() is None and time.monotonic() < until:
        time.sleep(_LOOK_S)
