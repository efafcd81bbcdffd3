"""An app that runs by hand-written units behind a hand-written HAProxy comes to deploy, and nobody notices."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import fresh_name
from support.project import REPOSITORY, Project
from support.traffic import Traffic, traffic

from deployer.lab import Lab, LabSpec, down, up
from deployer.lab.place import inventory_of

UNIT = """
[Service]
WorkingDirectory=/srv/by-hand
Environment=DEPLOY_RELEASE=by-hand
ExecStart=/srv/by-hand/venv/bin/gunicorn --worker-class gthread --threads 8 --bind 0.0.0.0:8000 app:app
Restart=always
[Install]
WantedBy=multi-user.target
"""
FRONT = """
global
    stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend shop
    bind :80
    default_backend old
backend old
    server web1 {web1}:8000 check
    server web2 {web2}:8000 check
"""
SETTINGS = {
    "app": "shop",
    "domains": ["shop.test"],
    "runtime": {"workers": 8, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "3s", "soak": "500ms"},
    "health": {"within": "60s"},
    "balancer": {"listen": "0.0.0.0:8090"},
}


@pytest.fixture
def by_hand() -> Iterator[Lab]:
    """Two hosts with `shop.service` at :8000, behind an HAProxy that somebody configured."""
    name = fresh_name()
    try:
        lab = up(LabSpec(name=name, kind="machines", hosts=2), print)
        first, second = (Path(lab.folder) / "hosts" / host / "srv/by-hand" for host in ("web1", "web2"))
        shutil.copytree(REPOSITORY / "examples/notes", first)
        (first / "shop.service").write_text(UNIT)
        does(lab, "web1", "python3 -m venv /srv/by-hand/venv && /srv/by-hand/venv/bin/pip -q install flask gunicorn")
        shutil.copytree(first, second, symlinks=True)
        for host in ("web1", "web2"):
            does(lab, host, "cp /srv/by-hand/shop.service /etc/systemd/system/")
            does(lab, host, "systemctl daemon-reload && systemctl enable --now shop.service")
        does(lab, "lb1", "which haproxy || { apt-get -q update; apt-get -qy install haproxy; }")
        front = FRONT.format(**{host: lab.hosts[host]["host"] for host in ("web1", "web2")})
        does(lab, "lb1", f"cat > /etc/haproxy/haproxy.cfg <<'END'\n{front}END\n")
        does(lab, "lb1", "systemctl enable haproxy; systemctl restart haproxy")
        for host in ("web1", "web2"):
            answers(lab, host)
        yield lab
    finally:
        down(name, print)


def answers(lab: Lab, host: str) -> None:
    """Waits until the hand-written unit serves."""
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"
    does(lab, host, f'for _ in $(seq 300); do python3 -c "{ask}" 2>/dev/null && exit 0; sleep 0.5; done; exit 1')


def does(lab: Lab, host: str, command: str) -> str:
    done = lab.exec(host, ["sh", "-c", command], timeout=600)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return str(done.stdout)


@pytest.mark.more
@pytest.mark.timeout(1500)
def test_from_hand_written_units_to_deploy_without_a_failed_request(by_hand: Lab, tmp_path: Path) -> None:
    shop, given = written_down(by_hand, tmp_path)
    said = "\n".join(each["line"] for each in shop.deploy("doctor", expect=3).of("output"))
    assert "port 8000 is taken by shop.service: " in said, said
    (balancers,) = (line for line in said.splitlines() if line.startswith("✗ the balancers take their configuration"))
    assert "lb1 was never set up" in balancers, said
    shop.settings({"port": 8100})
    with traffic(f"{by_hand.hosts['lb1']['host']}:80", tmp_path / "log", mix="http", rate=15) as users:
        shop.deploy("setup", *given)
        first = shop.deploy("push", *given)
        move = f"sed -i 's/default_backend old/default_backend shop-{by_hand.name}/' /etc/haproxy/haproxy.cfg"
        does(by_hand, "lb1", f"{move} && systemctl reload haproxy")
        for host in ("web1", "web2"):
            does(by_hand, host, "systemctl disable --now shop.service")
        shop.version(2)
        second = shop.deploy("push", *given)
    nobody_noticed(users, {"by-hand", first.release, second.release})
    assert "inactive" in by_hand.exec("lb1", ["systemctl", "is-active", "deploy-haproxy-bridge"]).stdout
    assert by_hand.exec("lb1", ["cat", "/proc/sys/net/ipv4/tcp_migrate_req"]).stdout.strip() == "0"


@pytest.mark.more
@pytest.mark.timeout(1800)
def test_deploy_takes_over_what_a_person_allowed_without_a_failed_request(by_hand: Lab, tmp_path: Path) -> None:
    """Shown, allowed, and done by the first push that succeeds; one that fails leaves everything as it is."""
    shop, given = written_down(by_hand, tmp_path)
    env = f"shop-{by_hand.name}"
    configured = does(by_hand, "lb1", "cat /etc/haproxy/haproxy.cfg")

    def as_before() -> bool:
        active = set(states(by_hand).values()) == {"active"}
        return active and does(by_hand, "lb1", "cat /etc/haproxy/haproxy.cfg") == configured

    with traffic(f"{by_hand.hosts['lb1']['host']}:80", tmp_path / "log", mix="http", rate=15) as users:
        refused = shop.deploy("setup", *given, expect=3)
        shown = "\n".join(refused.error["log"])
        assert refused.error["code"] == "foreign" and "setup" in refused.error["hint"]
        assert "web1: shop.service listens at port 8000: " in shown and "gunicorn" in shown, shown
        assert "-    default_backend old" in shown and f"+    default_backend {env}" in shown, shown
        assert as_before() and "there" not in does(by_hand, "web1", "test -e /srv/shop && echo there || true")

        shop.deploy("setup", *given, "--replace")
        assert as_before()
        planned = shop.deploy("plan", *given).of("plan.made")[0]
        assert "then lead front /etc/haproxy/haproxy.cfg on lb1\n" in planned["text"]
        assert "then retire foreign unit shop.service on web2" in planned["text"]
        assert {step["port"] for wave in planned["plan"]["waves"] for step in wave} == {8500}, "beside what serves"

        shop.breaks("boot")
        shop.deploy("push", *given, expect=5)
        assert as_before()
        shop.mends()
        first = shop.deploy("push", *given)
        for host in ("web1", "web2"):
            said = does(by_hand, host, "systemctl is-active shop.service; systemctl is-enabled shop.service; true")
            assert said.split() == ["inactive", "disabled"]
            does(by_hand, host, "test -f /etc/systemd/system/shop.service")
        led = does(by_hand, "lb1", "cat /etc/haproxy/haproxy.cfg")
        assert led == configured.replace("default_backend old", f"default_backend {env}")
        assert shop.deploy("push", *given).last["outcome"] == "unchanged"
        shop.version(2)
        second = shop.deploy("push", *given)

        kept = shop.deploy("remove", *given, "--yes", expect=3)
        assert kept.error["code"] == "led_here"
        assert "systemctl enable --now shop.service on web1" in kept.error["hint"], kept.error
        for host in ("web1", "web2"):
            does(by_hand, host, "systemctl enable --now shop.service")
            answers(by_hand, host)
        does(by_hand, "lb1", "cat /srv/shop/.deploy/front.before > /etc/haproxy/haproxy.cfg; systemctl reload haproxy")
        shop.deploy("remove", *given, "--yes")
        assert as_before()
    nobody_noticed(users, {"by-hand", first.release, second.release})


@pytest.mark.more
@pytest.mark.timeout(1800)
def test_a_push_that_dies_while_it_takes_over_is_gone_on_with(by_hand: Lab, tmp_path: Path) -> None:
    """Killed as it begins to lead the frontends; and a unit that somebody is connected to serves on."""
    shop, given = written_down(by_hand, tmp_path)
    with traffic(f"{by_hand.hosts['lb1']['host']}:80", tmp_path / "log", mix="http", rate=15) as users:
        shop.deploy("setup", *given, "--replace")
        with socket.create_connection((by_hand.hosts["web1"]["host"], 8000), timeout=10) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: shop.test\r\n")  # and never the end of it
            dying = shop.start("push", *given)
            assert dying.stdout is not None
            for line in dying.stdout:
                if '"step.started"' in line and '"front"' in line:
                    break
            else:
                raise AssertionError("the push ended before it led anything")
            os.killpg(dying.pid, signal.SIGKILL)
            dying.wait()
            second = shop.deploy("push", *given, "--wait", "3m")
            told = [event["message"] for event in second.of("warning")]
            assert any("shop.service still has" in message for message in told), told
            assert states(by_hand) == {"web1": "active", "web2": "inactive"}
            seen = "\n".join(event["line"] for event in shop.deploy("status", *given).of("output"))
            assert "shop.service on web1 is to be taken over (retire)" in seen and "shop.service on web2" not in seen
            assert f"default_backend shop-{by_hand.name}" in does(by_hand, "lb1", "cat /etc/haproxy/haproxy.cfg")
        third = shop.deploy("push", *given)
        assert third.last["outcome"] == "unchanged" and states(by_hand) == {"web1": "inactive", "web2": "inactive"}
    nobody_noticed(users, {"by-hand", second.release})


def written_down(lab: Lab, folder: Path) -> tuple[Project, tuple[str, str]]:
    """The app at the port that the hand-written unit has, and the words that name an inventory.

    A lab's own inventory says where its balancer listens, and that is taken here.
    """
    inventory = folder / "inventory.yaml"
    inventory.write_text(Path(str(inventory_of(lab.name))).read_text().replace("deploy_listen:", "not_used:"))
    return Project(folder / "shop", lab.name, "notes", SETTINGS), ("-i", str(inventory))


def nobody_noticed(users: Traffic, releases: set[str]) -> None:
    receipt = users.receipt
    assert receipt is not None
    print(f"{receipt.failed} of {receipt.requests} failed, {receipt.stale} stale, at most {receipt.max_ms} ms")
    assert receipt.failed == 0, (receipt.causes, receipt.failures[:10])
    assert set(receipt.releases) == releases


def states(lab: Lab) -> dict[str, str]:
    return {host: does(lab, host, "systemctl is-active shop.service || true").strip() for host in ("web1", "web2")}
