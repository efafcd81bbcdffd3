"""nginx runs, could be reloaded at any time, and has servers that serve."""

import json
from dataclasses import replace

import pytest

from deployer.agent.model.supervision import Health

ASK = """
import http.client, json, os, socket, sys
driver = json.loads(sys.argv[1])
health, found = driver["health"], {}
for name, slot in json.load(open(driver["route"]))["servers"].items():
    if os.path.exists(os.path.join(driver["gates"], name)):
        found[name] = None
        continue
    connection = http.client.HTTPConnection("localhost", timeout=health["timeout"])
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(health["timeout"])
    try:
        connection.sock.connect(slot["socket"])
        headers = {"Host": health["host"], "Connection": "close", **health["headers"], "X-Deploy-Slot": name}
        connection.request("GET", health["path"], headers=headers)
        found[name] = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(autouse=True)
def nginx(deploy):
    if (deploy.balancer or {}).get("kind") != "nginx":
        pytest.skip("no nginx balances the app on this host")


@pytest.fixture
def servers(host, deploy):
    """Server name → what it answers through nginx's listener; None for one that is to get no requests."""
    headers = Health(**deploy.balancer["health"]).named_headers
    driver = {**deploy.balancer, "health": {**deploy.balancer["health"], "headers": headers}}
    asked = host.run("%s -Ic %s %s", deploy.python or "python3", ASK, json.dumps(driver))
    assert asked.succeeded, f"nginx cannot be asked: {asked.stderr.strip().splitlines()[-1]}"
    return json.loads(asked.stdout)


def test_its_service_is_active(host, deploy):
    if deploy.prefix:
        pytest.skip("a lab of processes has no systemd")
    assert host.run("systemctl is-active nginx").stdout.strip() == "active"


def test_its_configuration_is_valid(host, deploy):
    command = 'PATH=$PATH:/usr/sbin; set --; if [ -n %s ]; then set -- -c %s -p %s; fi; nginx -t -q "$@"'
    checked = host.run(command, deploy.prefix, f"{deploy.prefix}/etc/nginx/nginx.conf", f"{deploy.prefix}/")
    assert checked.succeeded, checked.stderr.strip()


def test_its_servers_pass_their_health_checks(servers, deploy):
    wanted = Health(**deploy.balancer["health"])
    failing = {name: answer for name, answer in servers.items() if answer is not None and not right(answer, wanted)}
    assert not failing


def test_somebody_serves(servers, deploy):
    wanted = replace(Health(**deploy.balancer["health"]), lenient=True)
    assert any(right(answer, wanted) for answer in servers.values()), servers


def right(answer, wanted):
    """Whether an answer is a status that the health check accepts."""
    return isinstance(answer, int) and wanted.accepts(answer)
