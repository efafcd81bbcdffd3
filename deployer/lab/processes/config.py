"""The config files of a host that is only processes. Their paths are checked before: letters, digits, / . _ + -."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

SSHD = """\
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {authorized}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 500:30:1000
MaxSessions 100
PrintMotd no
PrintLastLog no
UseDNS no
Subsystem sftp internal-sftp
SetEnv {environment}
"""

SUPERVISORD = """\
[unix_http_server]
file = {prefix}/run/supervisor.sock
chmod = 0700

[supervisord]
logfile = {prefix}/var/log/supervisor/supervisord.log
childlogdir = {prefix}/var/log/supervisor
pidfile = {prefix}/run/supervisord.pid
directory = {prefix}
user = {user}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://{prefix}/run/supervisor.sock

[include]
files = {prefix}/etc/supervisor/conf.d/*.conf
"""

HAPROXY_PROGRAM = """\
[program:haproxy]
command = {haproxy} -W -f {configs}/haproxy.cfg -f {configs}/deploy -S {prefix}/run/haproxy-master.sock
autostart = true
autorestart = true
startsecs = 1
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {prefix}/var/log/haproxy.log
"""

CADDY_PROGRAM = """\
[program:caddy]
command = {python} -IS {prefix}/usr/local/lib/deploy/caddy_reload.py run --prefix {prefix}
autostart = true
autorestart = true
startsecs = 1
stopwaitsecs = 60
redirect_stderr = true
stdout_logfile = {prefix}/var/log/caddy.log
"""

HAPROXY = """\
global
    stats socket {prefix}/run/haproxy/admin.sock mode 600 level admin expose-fd listeners

defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""

SUPERVISORCTL = """\
#!/bin/sh
[ "$1" = -c ] || set -- -c {config} "$@"
exec {python} -P -m supervisor.supervisorctl "$@"
"""
WRAPPER = """\
#!/bin/sh
exec {command} "$@"
"""


def sshd(folder: Path, address: str, port: int, authorized: Path, environment: Mapping[str, str]) -> str:
    """Return an sshd for one user without privileges; sessions get `environment` (values without quotes or
    backslashes)."""
    words = " ".join(f'"{name}={value}"' for name, value in environment.items())
    return SSHD.format(folder=folder, address=address, port=port, authorized=authorized, environment=words)


def supervisord(prefix: Path, user: str) -> str:
    """Return a supervisord that includes what setup puts below `etc/supervisor/conf.d`."""
    return SUPERVISORD.format(prefix=prefix, user=user)


def haproxy_program(prefix: Path, haproxy: str) -> str:
    """haproxy as a program of that supervisord, with a master socket for reloads."""
    return HAPROXY_PROGRAM.format(prefix=prefix, configs=prefix / "etc/haproxy", haproxy=haproxy)


def caddy_program(prefix: Path) -> str:
    """Caddy as a program of that supervisord. It gives up until `setup` has installed what it runs."""
    return CADDY_PROGRAM.format(prefix=prefix, python=prefix / "usr/bin/python3")


def haproxy(prefix: Path) -> str:
    """Return what a fresh haproxy package has: a stats socket, defaults, and nothing to serve."""
    return HAPROXY.format(prefix=prefix)


def supervisorctl(python: str, config: Path) -> str:
    """`supervisorctl` of one host. It refuses a second `-c`, so ours is added only where the caller has none."""
    return SUPERVISORCTL.format(python=shlex.quote(python), config=shlex.quote(str(config)))


def wrapper(command: str) -> str:
    """Return a script in the host's `usr/bin` that stands for a program elsewhere."""
    return WRAPPER.format(command=command)
