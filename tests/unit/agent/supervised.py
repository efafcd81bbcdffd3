"""A host in a folder: a site, releases that really run, and a real supervisord that supervises the one slot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer.agent.instance import operations as instance
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.instances import InstanceSwitched, ProveInstances, SlotState, SwitchInstance
from deployer.agent.model.supervision import Health, Instance, Verbs
from deployer.agent.operation import Context
from deployer.agent.system import procfs
from deployer.supervisors.supervisord import Supervisord

SERVE = """
import http.server, os, sys
release = os.path.basename(os.getcwd())
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(STATUS)
        self.end_headers()
        self.wfile.write(release.encode())
    def log_message(self, *words):
        pass
def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
    print("serving", release, flush=True)
    server.serve_forever()
"""
GOOD = SERVE.replace("STATUS", "200") + "serve()\n"
SICK = SERVE.replace("STATUS", "500") + "serve()\n"
BROKEN = "import a_module_that_nobody_wrote\n"
DIES_LATER = "import time\nprint('starting', flush=True)\ntime.sleep(0.5)\nraise SystemExit('out of luck')\n"
HANGS = "import time\nprint('waiting for a database', flush=True)\ntime.sleep(600)\n"
# The master leaves the serving to a child in a session of its own, which outlives the master's SIGKILL.
ORPHANS = SERVE.replace("STATUS", "200") + "os.setsid() or serve() if os.fork() == 0 else os.wait()\n"

CONF = """
[supervisord]
logfile=%(home)s/supervisord.log
pidfile=%(home)s/supervisord.pid
[unix_http_server]
file=%(home)s/s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(home)s/s
[program:shop-%(port)d]
command=/bin/sh -c 'cd -P "slots/%(port)d" && exec ./run'
directory=%(root)s
environment=PORT="%(port)d"
autostart=false
autorestart=true
startsecs=0
stopwaitsecs=5
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=%(home)s/app.log
"""


class World:
    """Everything a scenario needs; made by `world`, which also takes it down."""

    def __init__(self, home: str, port: int) -> None:
        self.home = home
        self.site = Site(app="shop", env="test", root=home + "/srv/shop", prefix=home)
        Path(self.site.releases).mkdir(parents=True)
        Path(self.site.state).mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.site.venv("k")], check=True)
        self._conf = home + "/etc/supervisor/supervisord.conf"
        write(self._conf, CONF % {"home": home, "port": port, "root": self.site.root})
        control = home + "/usr/bin/supervisorctl"
        write(control, f'#!/bin/sh\nexec {sys.executable} -m supervisor.supervisorctl "$@"\n')
        os.chmod(control, 0o755)
        self.instance = self._instance(port)
        self._started: list[subprocess.Popen[bytes]] = []

    def _control(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "supervisor.supervisorctl", "-c", self._conf, *words)

    def _instance(self, port: int) -> Instance:
        name = f"shop-{port}"
        verbs = Verbs(
            unit=name,
            start=self._control("start", name),
            stop=Supervisord().verbs(self.site, port).stop,
            pid=self._control("pid", name),
            log=("tail", "-n", "{lines}", self.home + "/app.log"),
            enable=("touch", self.home + "/enabled"),
            disable=("rm", "-f", self.home + "/enabled"),
        )
        health = Health(path="/healthz", status=200, every=0.1, within=8.0, timeout=2.0)
        return Instance(index=0, port=port, address="127.0.0.1", verbs=verbs, health=health, graceful=5.0)

    def supervise(self) -> None:
        """Starts supervisord and waits until it answers."""
        self.run([sys.executable, "-m", "supervisor.supervisord", "-n", "-c", self._conf])
        wait_until(lambda: os.path.exists(self.home + "/s"), "supervisord's socket")

    def run(self, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Starts a program that ends with the scenario."""
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
        self._started.append(subprocess.Popen(argv, **quiet))
        return self._started[-1]

    def release(
        self, name: str, code: str = GOOD, run: str = "exec .venv/bin/python app.py", health: Health | None = None
    ) -> str:
        """A complete release that runs `code`, built for that health check."""
        folder = Path(self.site.release(name))
        folder.mkdir()
        (folder / "app.py").write_text(code)
        (folder / "run").write_text(f"#!/bin/sh\n{run}\n")
        (folder / "run").chmod(0o755)
        (folder / ".venv").symlink_to("../../venvs/k")
        Path(self.site.marker(name)).write_text(
            json.dumps(
                {
                    "content": f"c-{name}",
                    "created": 1,
                    "venv": "k",
                    **({"health": health.record()} if health else {}),
                }
            )
        )
        return name

    def args(self, release: str, previous: str | None = None, via: str = "push", run: str = "r1") -> SwitchInstance:
        """Arguments of `instance.switch`."""
        return {
            "site": self.site.to_wire(),
            "run": run,
            "instance": self.instance.to_wire(),
            "release": release,
            "previous": previous,
            "via": via,
        }

    def switch(self, release: str, previous: str | None = None, via: str = "push", **context: Any) -> InstanceSwitched:
        """Runs `instance.switch`."""
        return instance.switch(Context(**context), self.args(release, previous, via))

    def tune(self, **changes: Any) -> None:
        """Changes the instance, or its health (`within` …)."""
        health = {key: changes.pop(key) for key in list(changes) if key in Health.__dataclass_fields__}
        self.instance = replace(self.instance, health=replace(self.instance.health, **health), **changes)

    def proof(self, release: str | None = None, after: float | None = None) -> SlotState:
        """The answer of `instance.prove` for the instance."""
        request: ProveInstances = {
            "site": self.site.to_wire(),
            "instances": [self.instance.to_wire()],
            "release": release,
            "started_after": after,
        }
        return instance.prove(Context(), request)["slots"][str(self.instance.port)]

    @property
    def slot(self) -> str | None:
        """Where the slot's link leads, literally."""
        path = self.site.slot(self.instance.port)
        return os.readlink(path) if os.path.lexists(path) else None

    def listen_as_a_stranger(self, cwd: str = "/") -> subprocess.Popen[bytes]:
        """A process that is none of ours takes the port."""
        code = SERVE.replace("STATUS", "200") + "serve()\n"
        env = {**os.environ, "PORT": str(self.instance.port)}
        started = self.run([sys.executable, "-c", code], cwd=cwd, env=env)
        wait_until(lambda: bool(procfs.listeners([self.instance.port])), "the stranger's socket")
        return started

    def kill_the_master(self) -> int:
        """SIGKILLs the supervised master of `ORPHANS`; returns the orphan that goes on serving."""
        (orphan,) = self.proof()["pids"]
        master = parent_of(orphan)
        os.kill(master, signal.SIGKILL)
        wait_until(lambda: parent_of(orphan) != master, "the master's end")
        return int(orphan)

    def down(self) -> None:
        """Ends whatever runs in this world, by process id, the supervisor first so that it restarts nothing."""
        for started in reversed(self._started):
            started.kill()
            started.wait()
        for pid in procfs.pids():
            if (procfs.link(pid, "cwd") or "").startswith(self.home + "/"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def world() -> Iterator[World]:
    """A fresh host with a supervisord that runs nothing yet."""
    home = os.path.realpath(tempfile.mkdtemp(prefix="deploy-", dir="/tmp"))  # short, for the socket's path
    made = World(home, free_port())
    try:
        made.supervise()
        yield made
    finally:
        made.down()
        shutil.rmtree(home)


def write(path: str, text: str) -> None:
    """A file, with the folders that it lies in."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def parent_of(pid: int) -> int:
    """The parent's process id; 0 when there is no such process."""
    found = procfs.process(pid)
    return found.ppid if found else 0


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(met: Callable[[], bool], what: str, bound: float = 20.0) -> None:
    """Waits for a condition, at most `bound` seconds."""
    deadline = time.monotonic() + bound
    while not met():
        assert time.monotonic() < deadline, f"waited {bound:g} s for {what}"
        time.sleep(0.02)
