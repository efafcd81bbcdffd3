"""Each instance runs, from the release that it should, and answers. Run once a wave, before it is admitted."""

import json

import pytest

from deployer.agent.model.supervision import Health

CONNECT = """
import http.client, json, socket, sys
address, port = sys.argv[1], int(sys.argv[2])
if address.startswith("/"):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(5)
    sock.connect("%s/%d.sock" % (address, port))
else:
    sock = socket.create_connection((address, port), 5)
"""
ASK = (
    CONNECT
    + """
health = json.loads(sys.argv[3])
sock.settimeout(health["timeout"])
connection = http.client.HTTPConnection("localhost" if address[:1] in "/:" else address, port)
connection.sock = sock
headers = dict(health["headers"])
if health["host"]:
    headers.setdefault("Host", health["host"])
connection.request("GET", health["path"], headers=headers)
response = connection.getresponse()
print(response.status, response.getheader("X-Release") or "-")
"""
)


@pytest.fixture(autouse=True)
def some_instances(deploy):
    if not deploy.instances:
        pytest.skip("no instance of the app is on this host")


def test_its_slot_is_the_release(host, deploy):
    slots = [f"{deploy.root}/slots/{instance['port']}" for instance in deploy.instances]
    words = [f"{deploy.root}/releases/{deploy.release}", *slots]
    release, *found = host.run(" ".join(["readlink -f --", *["%s"] * len(words)]), *words).stdout.splitlines()
    assert found == [release] * len(slots)


def test_its_supervisor_runs_it(host, deploy):
    for instance in deploy.instances:
        words = instance["verbs"]["pid"]
        pid = host.run(" ".join(["%s"] * len(words)), *words).stdout.strip()
        assert pid.isdigit() and int(pid) > 0, f"{instance['verbs']['unit']} does not run"


def test_its_port_takes_connections(host, deploy):
    for instance in deploy.instances:
        tried = host.run("%s -Ic %s %s %s", python(deploy), CONNECT, reached_at(instance), str(instance["port"]))
        assert tried.succeeded, last_line(tried.stderr)


def test_its_health_path_answers(host, deploy):
    for instance in deploy.instances:
        check = Health(**instance["health"])
        health = {**instance["health"], "headers": check.named_headers}
        if instance["socket"]:  # what waited while it restarted comes first
            health["timeout"] = max(health["timeout"], health["within"])
        words = (reached_at(instance), str(instance["port"]), json.dumps(health))
        asked = host.run("%s -Ic %s %s %s %s", python(deploy), ASK, *words)
        assert asked.succeeded, last_line(asked.stderr)
        status, release = asked.stdout.split()
        assert check.accepts(int(status)), f"{check.path} on port {instance['port']} answers {status}"
        assert release in ("-", deploy.release), f"port {instance['port']} is answered by {release}"


def python(deploy):
    return deploy.python or "python3"


def reached_at(instance):
    """Where the host itself reaches an instance that may listen on all addresses."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(instance["address"], instance["address"])


def last_line(text):
    return (text.strip().splitlines() or ["no answer"])[-1]
