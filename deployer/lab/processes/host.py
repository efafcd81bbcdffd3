"""One host that is only processes: an sshd, a supervisord, and a folder that stands for its `/`."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deployer.artifact.caddy_binary import caddy_for
from deployer.artifact.program import Program
from deployer.cache import cache, caches
from deployer.errors import DeployError, NotReadyError
from deployer.lab.commands import attempt, run, wait_until
from deployer.lab.pip_sources import PipSources
from deployer.lab.place import Place
from deployer.lab.processes import config, nginx
from deployer.lab.processes.addresses import SSH_PORT
from deployer.lab.processes.belongings import MARK, Belongings
from deployer.lab.processes.requirements import find_program

START_WITHIN_S = 20.0
_FOLDERS = (
    "usr/bin", "usr/sbin", "etc/supervisor/conf.d", "etc/haproxy/deploy", "run/haproxy", "var/log/supervisor",
    "etc/nginx/conf.d", "var/log/nginx", "var/lib/nginx", "srv", "tmp", "home/.config/pip", "home/.config/uv",
)  # fmt: skip
_PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ProcessHost:
    """The host `name` of the lab at `place`; everything about it is read from there."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name
        self.folder = place.host(name)
        self.prefix = self.folder / "root"
        self.belongings = Belongings(f"{place.tag}/{name}/", self.folder)

    @property
    def address(self) -> str:
        """The loopback address, as it was given at the first start."""
        return (self.folder / "address").read_text().strip()

    def prepare(self, address: str, pip: PipSources, *, balancer: str) -> None:
        """Make the host's folders and config files; `balancer` is what its supervisord runs beside, if not empty."""
        for name in _FOLDERS:
            (self.prefix / name).mkdir(parents=True)
        (self.folder / "address").write_text(address)
        authorized = self.place.key.with_name(self.place.key.name + ".pub")
        sshd = config.sshd(self.folder, address, SSH_PORT, authorized, self.environment)
        _write(self.folder / "sshd_config", sshd, mode=0o600)
        _write(self._supervisor_config, config.supervisord(self.prefix, pwd.getpwuid(os.getuid()).pw_name))
        control = config.supervisorctl(sys.executable, self._supervisor_config)
        _write(self.prefix / "usr/bin/supervisorctl", control, mode=0o755)
        _write(self.prefix / "usr/bin/python3", config.wrapper(_plain_python()), mode=0o755)
        _write(self.prefix / "home/.config/pip/pip.conf", pip.pip_conf())
        _write(self.prefix / "home/.config/uv/uv.toml", pip.uv_toml())
        if balancer == "caddy":
            self._give_caddy(caddy_for(cache()))
            _write(self.prefix / "etc/supervisor/conf.d/caddy.conf", config.caddy_program(self.prefix))
        if balancer == "haproxy":
            program = config.haproxy_program(self.prefix, find_program("haproxy", "haproxy"))
            _write(self.prefix / "etc/haproxy/haproxy.cfg", config.haproxy(self.prefix))
            _write(self.prefix / "etc/supervisor/conf.d/haproxy.conf", program)
        if balancer == "nginx":
            program = nginx.program(self.prefix, find_program("nginx", "nginx"))
            _write(self.prefix / "etc/nginx/nginx.conf", nginx.configuration(self.prefix))
            _write(self.prefix / "etc/supervisor/conf.d/nginx.conf", program)

    def _give_caddy(self, caddy: Program) -> None:
        """Put it where `tool.put` would, without another 50 MB for each host."""
        folder = self.prefix / f"var/lib/deploy/caddy/{caddy.version}-{caddy.sha256[:12]}"
        folder.mkdir(parents=True)
        (folder / "caddy").symlink_to(caddy.path)

    @property
    def environment(self) -> dict[str, str]:
        """What everything that runs on the host has in its environment."""
        return {
            "PATH": f"{self.prefix}/usr/bin:{self.prefix}/usr/sbin:{_PROGRAMS}",
            "HOME": f"{self.prefix}/home",  # the user's own shell start-up files would change PATH
            "PIP_CACHE_DIR": str(caches() / "pip"),
            "UV_CACHE_DIR": str(caches() / "uv"),
            MARK: self.belongings.mark,
        }

    @property
    def _supervisor_config(self) -> Path:
        return self.prefix / "etc/supervisor/supervisord.conf"

    def start(self) -> None:
        """Start what is not running; both detach themselves. Returns before they answer."""
        env = self.environment
        if not self.belongings.ssh():
            sshd = [find_program("sshd", "openssh-server"), "-f", str(self.folder / "sshd_config")]
            _check_sshd(sshd)
            run([*sshd, "-E", self.folder / "sshd.log"], env=env, message=f"the sshd of {self.name} did not start")
        if not self._supervised():
            (self.prefix / "run/supervisor.sock").unlink(missing_ok=True)
            command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(self._supervisor_config)]
            run(command, env=env, message=f"the supervisord of {self.name} did not start")

    def wait(self) -> None:
        """Return when sshd and supervisord answer; DeployError with the last lines of their logs otherwise."""
        if wait_until(lambda: self._answers() and self._supervised(), within=START_WITHIN_S):
            return
        logs = (self.folder / "sshd.log", self.prefix / "var/log/supervisor/supervisord.log")
        lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()[-6:]]
        raise DeployError(f"{self.name} did not start within {START_WITHIN_S:g} s", step="lab", log=lines)

    @property
    def running(self) -> bool:
        """Whether it has an sshd."""
        return bool(self.belongings.ssh())

    def exec(self, argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command as the host would, in its folder; DeployError when it is off."""
        if not self.running:
            raise DeployError(f"{self.name} of the lab {self.place.name} is off", hint="power it on")
        return attempt(argv, env=self.environment, cwd=self.prefix, timeout=timeout)

    def cut(self) -> None:
        """Stop sshd and its sessions where they are."""
        self.belongings.signal_ssh(signal.SIGSTOP)

    def mend(self) -> None:
        """Let them go on."""
        self.belongings.signal_ssh(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, SSH_PORT), timeout=1.0) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _supervised(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.prefix / "run/supervisor.sock"))
            except OSError:
                return False
        return True


def _check_sshd(sshd: Sequence[str]) -> None:
    done = attempt([*sshd, "-t"])
    if done.returncode == 0:
        return
    log = (done.stdout + done.stderr).strip().splitlines()[-6:]
    hint = "sudo mkdir -p /run/sshd" if any("privilege separation" in line for line in log) else None
    raise NotReadyError("sshd cannot be started", cause=log[-1] if log else None, hint=hint, log=log)


def _plain_python() -> str:
    """Return the interpreter below our virtual environment, so that what a host makes does not depend on ours."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _write(path: Path, content: str, mode: int = 0o644) -> None:
    path.touch(mode=mode)
    path.write_text(content)
