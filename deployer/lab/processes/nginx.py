"""nginx on a host that is only processes: what a fresh package has, as a plain user, as a program of supervisord."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

PROGRAM = """\
[program:nginx]
command = /bin/sh -c "mkdir -p {prefix}/run/deploy-nginx && rm -f {prefix}/run/deploy-nginx/* && exec {start}"
autostart = true
autorestart = true
startsecs = 1
stopsignal = QUIT
stopwaitsecs = 5
stopasgroup = false
killasgroup = true
redirect_stderr = true
stdout_logfile = {prefix}/var/log/nginx/nginx.log
"""

CONFIGURATION = """\
{user}worker_processes 2;
pid {prefix}/run/nginx.pid;
error_log {prefix}/var/log/nginx/error.log;
worker_shutdown_timeout 30m;
events {{
    worker_connections 1024;
}}
http {{
    client_body_temp_path {prefix}/var/lib/nginx/body;
    proxy_temp_path {prefix}/var/lib/nginx/proxy;
    fastcgi_temp_path {prefix}/var/lib/nginx/fastcgi;
    uwsgi_temp_path {prefix}/var/lib/nginx/uwsgi;
    scgi_temp_path {prefix}/var/lib/nginx/scgi;
    access_log {prefix}/var/log/nginx/access.log;
    include {prefix}/etc/nginx/conf.d/*.conf;
}}
"""


def program(prefix: Path, nginx: str) -> str:
    """nginx as a program of the host's supervisord. What a killed one left of its unix sockets is removed first."""
    start = f"{nginx} -c {prefix}/etc/nginx/nginx.conf -p {prefix}/ -g 'daemon off;'"
    return PROGRAM.format(prefix=prefix, start=start)


def configuration(prefix: Path) -> str:
    """Return a main configuration that serves nothing and includes `conf.d`, as packages have it."""
    # Workers of a master that is root would be `nobody`, who may look into no folder of root's.
    user = f"user {pwd.getpwuid(0).pw_name};\n" if os.geteuid() == 0 else ""
    return CONFIGURATION.format(prefix=prefix, user=user)
