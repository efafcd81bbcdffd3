"""HAProxy runs, could be reloaded at any time, and has servers that serve."""

import csv

import pytest

SHOW = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(5)
    connection.connect(sys.argv[1])
    connection.sendall(b"show stat\\n")
    print(b"".join(iter(lambda: connection.recv(65536), b"")).decode())
"""


@pytest.fixture(autouse=True)
def haproxy(deploy):
    if (deploy.balancer or {}).get("kind") != "haproxy":
        pytest.skip("no HAProxy balances the app on this host")


@pytest.fixture
def servers(host, deploy):
    """Server name → what HAProxy knows of it, of the app's backend."""
    shown = host.run("%s -Ic %s %s", deploy.python or "python3", SHOW, deploy.balancer["socket"])
    assert shown.succeeded, f"HAProxy does not answer on its socket: {shown.stderr.strip().splitlines()[-1]}"
    rows = csv.DictReader(shown.stdout.lstrip("# ").splitlines())
    named = [row for row in rows if row["pxname"] == deploy.balancer["backend"]]
    return {row["svname"]: row for row in named if row["svname"] not in ("FRONTEND", "BACKEND")}


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


def test_its_servers_pass_their_health_checks(servers):
    failing = {name: row["status"] for name, row in servers.items() if row["status"].startswith("DOWN")}
    assert not failing


def test_somebody_serves(servers, deploy):
    states = {name: row["status"] for name, row in servers.items()}
    assert any(state.startswith("UP") for state in states.values()), states
