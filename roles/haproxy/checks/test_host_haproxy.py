"""HAProxy runs, could be reloaded at any time, and has servers that serve."""

import csv

import pytest

SHOW = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(5)
    connection.connect(sys.argv[1])
    connection.sendall(sys.argv[2].encode() + b"\\n")
    print(b"".join(iter(lambda: connection.recv(65536), b"")).decode())
"""

FORCED_MAINT, FORCED_DRAIN = 0x01, 0x08  # bits of srv_admin_state, HAProxy's management guide, "show servers state"


@pytest.fixture(autouse=True)
def haproxy(deploy):
    if (deploy.balancer or {}).get("kind") != "haproxy":
        pytest.skip("no HAProxy balances the app on this host")


@pytest.fixture
def servers(host, deploy):
    """Server name → what HAProxy knows of it, of the app's backend."""
    rows = csv.DictReader(asked(host, deploy, "show stat").lstrip("# ").splitlines())
    named = [row for row in rows if row["pxname"] == deploy.balancer["backend"]]
    return {row["svname"]: row for row in named if row["svname"] not in ("FRONTEND", "BACKEND")}


@pytest.fixture
def out(host, deploy):
    """The servers that were taken out on purpose, drained or in maintenance: they get no request."""
    lines = asked(host, deploy, f"show servers state {deploy.balancer['backend']}").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[3] for row in rows if len(row) > 6 and int(row[6]) & (FORCED_MAINT | FORCED_DRAIN)}


def asked(host, deploy, command):
    """HAProxy's answer on its socket."""
    shown = host.run("%s -Ic %s %s %s", deploy.python or "python3", SHOW, deploy.balancer["socket"], command)
    assert shown.succeeded, f"HAProxy does not answer on its socket: {shown.stderr.strip().splitlines()[-1]}"
    return shown.stdout


def test_its_service_is_active(host, deploy):
    if deploy.prefix:
        pytest.skip("a lab of processes has no systemd")
    assert host.run("systemctl is-active haproxy").stdout.strip() == "active"


def test_its_configuration_is_valid(host, deploy):
    command = (
        "PATH=%s:$PATH:/usr/sbin; main=%s; set -- -f %s; "
        'if [ -e "$main" ]; then set -- -f "$main" "$@"; fi; haproxy -c "$@"'
    )
    places = (f"{deploy.prefix}/usr/sbin", f"{deploy.prefix}/etc/haproxy/haproxy.cfg")
    checked = host.run(command, *places, f"{deploy.prefix}/etc/haproxy/deploy")
    assert checked.succeeded, checked.stderr.strip()


def test_its_servers_pass_their_health_checks(servers, out):
    down = {name: row["status"] for name, row in servers.items() if row["status"].startswith("DOWN")}
    assert not {name: status for name, status in down.items() if name not in out}


def test_somebody_serves(servers, deploy):
    states = {name: row["status"] for name, row in servers.items()}
    assert any(state.startswith("UP") for state in states.values()), states
