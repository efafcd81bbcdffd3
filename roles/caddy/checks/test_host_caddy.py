"""Caddy runs, could be reloaded at any time, and has servers that serve."""

import json

import pytest

ASK = """
import http.client, json, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(sys.argv[1])
connection = Unix("localhost")
connection.request("GET", sys.argv[2], headers=json.loads(sys.argv[3]))
answer = connection.getresponse()
print(json.dumps([answer.status, answer.getheader("X-Deploy-Answered"), answer.read().decode()]))
"""


@pytest.fixture(autouse=True)
def caddy(deploy):
    if (deploy.balancer or {}).get("kind") != "caddy":
        pytest.skip("no Caddy balances the app on this host")


@pytest.fixture
def app(host, deploy):
    """What setup wrote of the app's pool."""
    return json.loads(host.check_output("cat %s", deploy.balancer["app"]))


@pytest.fixture
def ready(host, deploy, app):
    """The slots that requests go to: those whose file names their address."""
    folder = deploy.balancer["slots"]
    return [slot for slot, place in app["slots"].items() if host.check_output("cat %s", f"{folder}/{slot}") == place]


def asked(host, deploy, socket, path, **headers):
    words = (deploy.python or "python3", ASK, socket, path, json.dumps(headers))
    done = host.run("%s -Ic %s %s %s %s", *words)
    assert done.succeeded, f"Caddy does not answer on {socket}: {done.stderr.strip().splitlines()[-1]}"
    return json.loads(done.stdout)


def test_its_service_is_active(host, deploy):
    if deploy.prefix:
        pytest.skip("a lab of processes has no systemd")
    assert host.run("systemctl is-active deploy-caddy").stdout.strip() == "active"


def test_it_has_the_configuration_on_the_disk(host, deploy):
    status, _, text = asked(host, deploy, deploy.balancer["socket"], "/config/")
    assert status == 200
    assert json.loads(text) == json.loads(host.check_output("cat %s", f"{deploy.prefix}/run/deploy-caddy/caddy.json"))


def test_it_knows_every_slot(host, deploy, app):
    _, _, text = asked(host, deploy, deploy.balancer["socket"], "/reverse_proxy/upstreams")
    wanted = {f"{{file.{deploy.balancer['slots']}/{slot}}}" for slot in app["slots"]}
    assert wanted <= {each["address"] for each in json.loads(text)}


def test_its_servers_pass_their_health_checks(host, deploy, app, ready):
    failing = {}
    for slot in ready:
        named = {"X-Deploy-Slot": f"{app['pool']}/{slot}"}
        status, answered, _ = asked(host, deploy, deploy.balancer["ask"], "/", **named)
        if status != 204:
            failing[slot] = answered or status
    assert not failing


def test_somebody_serves(ready):
    assert ready, "every slot is taken out"
