"""An app that runs by hand-written units behind a hand-written HAProxy or nginx comes to deploy, and nobody notices."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from support.inventories import inventory
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
SITE = """
upstream old {{
    least_conn;
    server {web1}:8000;
    server {web2}:8000;
    keepalive 8;
}}
server {{
    listen 80;
    server_name shop.test;
    location / {{
        proxy_pass http://old;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
}}
"""
FILES = {"haproxy": "/etc/haproxy/haproxy.cfg", "nginx": "/etc/nginx/sites-available/shop"}
SETTINGS = {
    "app": "shop",
    "domains": ["shop.test"],
    "runtime": {"workers": 8, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "3s", "soak": "500ms"},
    "health": {"within": "60s"},
    "balancer": {"listen": "0.0.0.0:8090"},
}


ALONE = """
server {
    listen 80;
    server_name shop.test;
    location / {
        include proxy_params;
        proxy_pass http://127.0.0.1:8000;
    }
}
"""


@pytest.fixture
def by_hand(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two hosts with `shop.service` at :8000, behind an HAProxy that somebody configured, or the kind in `param`."""
    kind: Literal["haproxy", "nginx"]
    name, kind = fresh_name(), getattr(request, "param", "haproxy")
    try:
        lab = up(LabSpec(name=name, kind="machines", hosts=2, balancer=kind), print)
        serves_by_hand(lab, "web1", "web2")
        does(lab, "lb1", f"which {kind} || {{ apt-get -q update; apt-get -qy install {kind}; }}")
        text = {"haproxy": FRONT, "nginx": SITE}[kind].format(**{h: lab.hosts[h]["host"] for h in ("web1", "web2")})
        does(lab, "lb1", f"cat > {FILES[kind]} <<'END'\n{text}END\n")
        if kind == "nginx":
            does(lab, "lb1", f"ln -s {FILES[kind]} /etc/nginx/sites-enabled/shop")
        does(lab, "lb1", f"systemctl enable {kind}; systemctl restart {kind}")
        for host in ("web1", "web2"):
            answers(lab, host)
        yield lab
    finally:
        down(name, print)


@pytest.fixture
def one_machine() -> Iterator[Lab]:
    """`shop.service` at :8000, and an nginx before it on the same host."""
    name = fresh_name()
    try:
        lab = up(LabSpec(name=name, kind="machines", hosts=1, balancer="none"), print)
        serves_by_hand(lab, "web1")
        does(lab, "web1", "which nginx || { apt-get -q update; apt-get -qy install nginx; }")
        does(lab, "web1", f"cat > /etc/nginx/conf.d/shop.conf <<'END'\n{ALONE}END\n")
        does(lab, "web1", "systemctl enable nginx; systemctl restart nginx")
        answers(lab, "web1")
        yield lab
    finally:
        down(name, print)


def serves_by_hand(lab: Lab, *hosts: str) -> None:
    """Each host has the app and a unit that somebody wrote for it."""
    first, *others = (Path(lab.folder) / "hosts" / host / "srv/by-hand" for host in hosts)
    shutil.copytree(REPOSITORY / "examples/notes", first)
    (first / "shop.service").write_text(UNIT)
    does(lab, hosts[0], "python3 -m venv /srv/by-hand/venv && /srv/by-hand/venv/bin/pip -q install flask gunicorn")
    for other in others:
        shutil.copytree(first, other, symlinks=True)
    for host in hosts:
        does(lab, host, "cp /srv/by-hand/shop.service /etc/systemd/system/")
        does(lab, host, "systemctl daemon-reload && systemctl enable --now shop.service")


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
    said = shop.show("doctor", expect=3)
    assert "port 8000 is taken by shop.service: " in said, said
    (balancers,) = (line for line in said.splitlines() if line.startswith("✗ the balancers accept their configuration"))
    assert "lb1 was never set up" in balancers, said
    shop.settings({"port": 8100})
    with traffic(
        f"{by_hand.hosts['lb1']['host']}:80", tmp_path / "log", mix="http", rate=15, host_header="shop.test"
    ) as users:
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
@pytest.mark.parametrize(("by_hand", "kind"), [("haproxy", "haproxy"), ("nginx", "nginx")], indirect=["by_hand"])
def test_deploy_takes_over_what_a_person_allowed_without_a_failed_request(
    by_hand: Lab, kind: str, tmp_path: Path
) -> None:
    """Shown, allowed, and done by the first push that succeeds; one that fails leaves everything as it is."""
    shop, given = written_down(by_hand, tmp_path)
    env = f"shop-{by_hand.name}"
    configured = does(by_hand, "lb1", f"cat {FILES[kind]}")
    if kind == "haproxy":
        named, lines = FILES[kind], {"default_backend old": f"default_backend {env}"}
    else:
        one, two = (f"server {by_hand.hosts[host]['host']}:8000;" for host in ("web1", "web2"))
        named = "/etc/nginx/sites-enabled/shop"
        lines = {one: f"server unix:/run/deploy-nginx/{env}.sock;", f"    {two}\n": ""}

    def as_before() -> bool:
        active = set(states(by_hand).values()) == {"active"}
        return active and does(by_hand, "lb1", f"cat {FILES[kind]}") == configured

    with traffic(
        f"{by_hand.hosts['lb1']['host']}:80", tmp_path / "log", mix="http", rate=15, host_header="shop.test"
    ) as users:
        refused = shop.deploy("setup", *given, expect=3)
        shown = "\n".join(refused.error["log"])
        assert refused.error["code"] == "foreign" and "setup" in refused.error["hint"]
        assert "web1: shop.service listens at port 8000: " in shown and "gunicorn" in shown, shown
        assert f"lb1: {named}" in shown, shown
        for before, after in lines.items():
            assert f"-    {before.strip()}" in shown and f"+    {after}" in shown + "\n+    ", shown
        assert as_before() and "there" not in does(by_hand, "web1", "test -e /srv/shop && echo there || true")

        shop.deploy("setup", *given, "--replace")
        assert as_before()
        planned = shop.deploy("plan", *given).of("plan.made")[0]
        assert f"then lead front {named} on lb1\n" in shop.show("plan", *given)
        taken = [(change["action"], change["kind"], change["name"]) for change in planned["plan"]["changes"]]
        assert ("retire", "foreign unit", "shop.service") in taken, taken
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
        led = configured
        for before, after in lines.items():
            led = led.replace(before, after)
        assert does(by_hand, "lb1", f"cat {FILES[kind]}") == led
        assert shop.deploy("push", *given).last["outcome"] == "unchanged"
        shop.version(2)
        second = shop.deploy("push", *given)

        kept = shop.deploy("remove", *given, "--yes", expect=3)
        assert kept.error["code"] == "led_here"
        assert "systemctl enable --now shop.service on web1" in kept.error["hint"], kept.error
        for host in ("web1", "web2"):
            does(by_hand, host, "systemctl enable --now shop.service")
            answers(by_hand, host)
        assert f"then systemctl reload {kind}" in kept.error["hint"], kept.error
        does(by_hand, "lb1", f"cat /srv/shop/.deploy/front.before > {FILES[kind]}; systemctl reload {kind}")
        shop.deploy("remove", *given, "--yes")
        assert as_before()
    nobody_noticed(users, {"by-hand", first.release, second.release})


@pytest.mark.more
@pytest.mark.timeout(1800)
def test_a_push_that_dies_while_it_takes_over_is_gone_on_with(by_hand: Lab, tmp_path: Path) -> None:
    """Killed as it begins to lead the frontends; and a unit that somebody is connected to serves on."""
    shop, given = written_down(by_hand, tmp_path)
    with traffic(
        f"{by_hand.hosts['lb1']['host']}:80", tmp_path / "log", mix="http", rate=15, host_header="shop.test"
    ) as users:
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
            seen = shop.show("status", *given)
            assert "shop.service on web1 is to be taken over (retire)" in seen and "shop.service on web2" not in seen
            assert f"default_backend shop-{by_hand.name}" in does(by_hand, "lb1", "cat /etc/haproxy/haproxy.cfg")
        third = shop.deploy("push", *given)
        assert third.last["outcome"] == "unchanged" and states(by_hand) == {"web1": "inactive", "web2": "inactive"}
    nobody_noticed(users, {"by-hand", second.release})


@pytest.mark.more
@pytest.mark.timeout(1500)
def test_one_machine_with_its_own_nginx_comes_to_deploy(one_machine: Lab, tmp_path: Path) -> None:
    """The usual beginning: all on one host. Whoever asked is still known to the app by the address that nginx saw."""
    listed = inventory(one_machine, tmp_path / "inventory.yaml", ["web1"], ["web1"], "nginx")
    shop, given = Project(tmp_path / "shop", one_machine.name, "notes", SETTINGS), ("-i", str(listed))
    with traffic(
        f"{one_machine.hosts['web1']['host']}:80", tmp_path / "log", mix="http", rate=15, host_header="shop.test"
    ) as users:
        refused = shop.deploy("setup", *given, expect=3)
        assert refused.error["code"] == "foreign" and "web1: /etc/nginx/conf.d/shop.conf" in refused.error["log"]
        shop.deploy("setup", *given, "--replace")
        first = shop.deploy("push", *given)
        said = does(one_machine, "web1", "systemctl is-active shop.service; cat /etc/nginx/conf.d/shop.conf")
        assert said == "inactive\n" + ALONE.replace(
            "127.0.0.1:8000", f"unix:/run/deploy-nginx/shop-{one_machine.name}.sock"
        )
        shop.version(2)
        second = shop.deploy("push", *given)
        reloaded = shop.deploy("reload", *given)
    assert reloaded.release == second.release
    nobody_noticed(users, {"by-hand", first.release, second.release})


def written_down(lab: Lab, folder: Path) -> tuple[Project, tuple[str, str]]:
    """The app at the port that the hand-written unit has, and the words that name an inventory.

    A lab's own inventory says where its balancer listens, and that is taken here.
    """
    listed = folder / "inventory.yaml"
    listed.write_text(Path(str(inventory_of(lab.name))).read_text().replace("deploy_listen:", "not_used:"))
    return Project(folder / "shop", lab.name, "notes", SETTINGS), ("-i", str(listed))


def nobody_noticed(users: Traffic, releases: set[str]) -> None:
    receipt = users.receipt
    assert receipt is not None
    print(f"{receipt.failed} of {receipt.requests} failed, {receipt.stale} stale, at most {receipt.max_ms} ms")
    assert receipt.failed == 0, (receipt.causes, receipt.failures[:10])
    assert set(receipt.releases) == releases


def states(lab: Lab) -> dict[str, str]:
    return {host: does(lab, host, "systemctl is-active shop.service || true").strip() for host in ("web1", "web2")}
