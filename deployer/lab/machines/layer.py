"""The files that all machines of one lab and suite have in common, laid over the root file system."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from deployer.lab.commands import run
from deployer.lab.model import LabSpec
from deployer.lab.pip_sources import PipSources
from deployer.lab.place import Place

SSHD = """\
# Of the lab: many connections at once, the lab's key for every user, no passwords.
MaxStartups 500:30:1000
MaxSessions 100
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AuthorizedKeysFile /etc/ssh/lab_authorized_keys
HostKey /etc/ssh/ssh_host_ed25519_key
"""

SSH_AFTER_LOGINS = """\
# A client that gets an answer from sshd may log in.
[Unit]
After=systemd-user-sessions.service lab-network.service
"""

NETWORK = """\
[Unit]
Description=Address of this lab host
DefaultDependencies=no
Before=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /etc/lab-network

[Install]
WantedBy=multi-user.target
"""


def make_password(place: Place) -> str:
    """Return a sudo password for `plain`, which is also in the file `plain.password` in the lab's folder."""
    password = secrets.token_urlsafe(12)
    file = place.folder / "plain.password"
    file.touch(mode=0o600)
    file.write_text(password + "\n")
    return password


def write_common(folder: Path, root: Path, spec: LabSpec, public_key: str, pip: PipSources, password: str) -> None:
    """Write the layer that lies over the file system `root` into `folder`; `password` is that of `plain`."""
    _write(folder, "etc/ssh/lab_authorized_keys", public_key + "\n")
    _write(folder, "etc/ssh/sshd_config.d/lab.conf", SSHD)
    _write(folder, "etc/systemd/system/ssh.service.d/lab.conf", SSH_AFTER_LOGINS)
    _write(folder, "etc/systemd/system/lab-network.service", NETWORK)
    wanted = folder / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir()
    (wanted / "lab-network.service").symlink_to("/etc/systemd/system/lab-network.service")
    _write(folder, "etc/pip.conf", pip.pip_conf())
    _write(folder, "etc/uv/uv.toml", pip.uv_toml())
    if spec.kill_user_processes:
        _write(folder, "etc/systemd/logind.conf.d/lab.conf", "[Login]\nKillUserProcesses=yes\n")
    _write(folder, "etc/default/locale", "LANG=C.UTF-8\n")
    _resolver(folder)
    _certificates(folder)
    _password(folder, root, password)


def _write(folder: Path, name: str, content: str, mode: int = 0o644) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)


def _resolver(folder: Path) -> None:
    """This machine's name servers; those behind systemd-resolved's stub, which a host cannot reach."""
    real = Path("/run/systemd/resolve/resolv.conf")
    source = Path("/etc/resolv.conf")
    if real.exists() and "127.0.0.53" in source.read_text():
        source = real
    _write(folder, "etc/resolv.conf", source.read_text())


def _certificates(folder: Path) -> None:
    """Whom this machine trusts, the hosts trust: else a proxy on the way out would stop them."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        _write(folder, "etc/ssl/certs/ca-certificates.crt", bundle.read_text())
    local = Path("/usr/local/share/ca-certificates")
    if local.is_dir():
        shutil.copytree(local, folder / "usr/local/share/ca-certificates")


def _password(folder: Path, root: Path, password: str) -> None:
    hashed = run(["chroot", root, "openssl", "passwd", "-6", "-stdin"], text_in=password).strip()
    lines = (root / "etc/shadow").read_text().splitlines()
    changed = [_with_password(line, hashed) if line.startswith("plain:") else line for line in lines]
    _write(folder, "etc/shadow", "".join(f"{line}\n" for line in changed), mode=0o600)


def _with_password(line: str, hashed: str) -> str:
    name, _, *rest = line.split(":")
    return ":".join([name, hashed, *rest])
