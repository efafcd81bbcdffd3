"""One machine: its disk, its boot, its end."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from deployer.errors import DeployError
from deployer.lab.commands import run, wait_until
from deployer.lab.machines import cgroups, network
from deployer.lab.machines.mounts import mounted_below
from deployer.lab.machines.network import Subnet, bridge_of
from deployer.lab.place import Place

NETWORK = """\
ip link set lo up
ip address replace {address}/{length} dev host0
ip link set host0 up
ip route replace default via {gateway}
"""


BOOT = """\
#!/bin/sh
# Boots {host} of the lab {lab} in a cgroup of its own, and again whenever it reboots.
echo $$ > {cgroup}/boot/cgroup.procs || exit
while :; do
    sh -c 'echo $$ > "$0"/machine/cgroup.procs && exec "$@"' {cgroup} {command}
    [ $? -eq {reboot} ] || exit
done
"""

EXIT_REBOOT = 133
"""What systemd-nspawn exits with when its machine reboots and `--keep-unit` is given."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}

NSPAWN = Path("/run/systemd/nspawn")


class Machine:
    """The machine `host` of the lab at `place`; everything about it is read from there."""

    def __init__(self, place: Place, host: str) -> None:
        self.place = place
        self.host = host
        self.folder = place.host(host)
        self.root = self.folder / "root"
        self.console = self.folder / "console.log"
        self.script = self.folder / "boot.sh"
        self.cgroup = cgroups.tree_of(place) / host

    def prepare(
        self, layers: Sequence[Path], host_key: Path, address: str, subnet: Subnet, folders: Sequence[str]
    ) -> None:
        """Make the disk: `layers` (topmost first) below one of its own; `folders` of ours are seen read-only."""
        upper, work, data = (self.folder / name for name in ("upper", "work", "srv"))
        for folder in (upper / "etc/ssh", work, data, self.root):
            folder.mkdir(parents=True)
        _write(upper / "etc/hostname", f"{self.host}\n")
        _write(upper / "etc/hosts", f"127.0.0.1 localhost\n{address} {self.host}\n::1 localhost\n")
        _write(upper / "etc/machine-id", f"{uuid.uuid4().hex}\n")
        _write(upper / "etc/lab-network", NETWORK.format(address=address, length=subnet.prefixlen, gateway=subnet[1]))
        _write(upper / "etc/ssh/ssh_host_ed25519_key", host_key.read_text(), mode=0o600)
        _write(upper / "etc/ssh/ssh_host_ed25519_key.pub", host_key.with_name(host_key.name + ".pub").read_text())
        options = f"lowerdir={':'.join(str(layer) for layer in layers)},upperdir={upper},workdir={work}"
        run(
            ["mount", "-t", "overlay", "-o", options, "overlay", self.root],
            message=f"the disk of {self.host} could not be mounted; XDG_CACHE_HOME must lie on an ordinary file system",
        )
        _write(self.script, self._boot_script(folders), mode=0o755)

    def _boot_script(self, folders: Sequence[str]) -> str:
        """Return what starts the machine. Its /srv is a plain folder: overlayfs is slow where releases are made."""
        command = [
            "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--link-journal=no",
            "--resolv-conf=off", "--timezone=off", f"--directory={self.root}",
            f"--machine={machine_name(self.place, self.host)}", f"--hostname={self.host}",
            f"--network-bridge={bridge_of(self.place)}",
            f"--bind={self.folder / 'srv'}:/srv", *(f"--bind-ro={folder}" for folder in folders),
        ]  # fmt: skip
        return BOOT.format(
            host=self.host,
            lab=self.place.name,
            cgroup=shlex.quote(str(self.cgroup)),
            command=shlex.join(command),
            reboot=EXIT_REBOOT,
        )

    def boot(self) -> None:
        """Start the machine, detached from us, and return at once."""
        if self.root not in mounted_below(self.folder):
            raise DeployError(
                f"the disk of {self.host} is not mounted", hint=f"deploy lab down --name {self.place.name}"
            )
        cgroups.make_for_host(self.place, self.host)
        # Through a shell that ends at once, so that the machine is init's child and never our zombie.
        line = f"setsid {shlex.quote(str(self.script))} </dev/null >>{shlex.quote(str(self.console))} 2>&1 &"
        run(["/bin/sh", "-c", line])
        wait_until(lambda: self.running, within=5)

    def kill(self) -> None:
        """End the machine at once, as if its plug were pulled; its disk stays. Harmless to repeat.

        Its link goes first: else the kernel would close the connections of the dead in all politeness.
        """
        network.unplug(self.place, f"vb-{machine_name(self.place, self.host)}")
        cgroups.kill(self.place, self.host)

    @property
    def running(self) -> bool:
        """Whether anything of it runs."""
        return bool(cgroups.processes(self.cgroup))

    @property
    def init(self) -> int | None:
        """The pid, here, of the machine's own pid 1; None when it is not running."""
        for pid in cgroups.processes(self.cgroup):
            if _pids_inside(pid) == [1]:
                return pid
        return None

    def exec(self, argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root; DeployError when the machine is off, TimeoutExpired after `timeout` s."""
        init = self.init
        if init is None:
            raise DeployError(f"{self.host} of the lab {self.place.name} is off", hint="power it on")
        return subprocess.run(
            ["nsenter", f"--target={init}", "--all", "--root", "--wd", "--", *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=ENVIRONMENT,
            timeout=timeout,
            check=False,
        )

    def last_words(self) -> list[str]:
        """Return the last lines of the console, oldest first."""
        if not self.console.exists():
            return []
        return self.console.read_text(errors="replace").splitlines()[-12:]


def machine_name(place: Place, host: str) -> str:
    """systemd-nspawn's name for a host: at most 12 characters, so that its link can be called `vb-<name>`."""
    return f"{place.tag[:5]}-{host}"


def remove_traces(place: Place) -> None:
    """Remove what systemd-nspawn leaves in `/run` when it is killed. The disks must still be mounted."""
    for root in place.hosts.glob("*/root"):
        root_stat = root.stat()
        (NSPAWN / "locks" / f"inode-{root_stat.st_dev}:{root_stat.st_ino}").unlink(missing_ok=True)
    for trace in NSPAWN.glob(f"*/{machine_name(place, '*')}"):
        shutil.rmtree(trace)
    for folder in (*NSPAWN.glob("*"), NSPAWN):
        with contextlib.suppress(OSError):  # another machine is using it
            folder.rmdir()


def _pids_inside(pid: int) -> list[int]:
    """Return a process's pids in the namespaces below ours, outermost first."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return []
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "")
    return [int(word) for word in line.split()[2:]]


def _write(path: Path, content: str, mode: int = 0o644) -> None:
    path.touch(mode=mode)
    os.chmod(path, mode)
    path.write_text(content)
