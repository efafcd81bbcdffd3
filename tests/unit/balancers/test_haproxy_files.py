"""What HAProxy's adapter writes: goldens that HAProxy itself reads, and values that try to break out of their place."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployer import balancers
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File, Service, name_of
from deployer.agent.model.supervision import Health
from deployer.balancers import Pool, Server
from deployer.errors import SettingsError

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
REAL = Site(app="shop", env="prod", root="/srv/shop")

BACKEND = """\
# shop in prod
backend shop-prod from deploy
    server-state-file-name '/run/haproxy/deploy-shop-prod.state'
    http-request return status 503 content-type "text/html; charset=utf-8" file '/etc/haproxy/deploy/maintenance-shop-prod.html' hdr Retry-After 120 hdr Cache-Control no-store if { str(shop-prod),map_str(/etc/haproxy/deploy/closed.map) -m found }
    http-request set-var(txn.deploy_user) src
    http-request set-header X-Forwarded-For %[var(txn.deploy_user)]
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    http-request set-header X-Forwarded-Proto http unless { ssl_fc }
    http-request disable-l7-retry unless { method GET HEAD OPTIONS }
    option httpchk
    http-check send meth GET uri '/healthz' ver HTTP/1.1 hdr Host 'shop.example.com' hdr 'User-Agent' 'deploy-health' hdr 'X-Probe' '50%% of '\\''it'\\'''
    http-check expect status 200
    timeout check 5000ms
    default-server check inter 1s fastinter 250ms downinter 500ms fall 2 rise 1 pool-purge-delay 1250ms init-addr libc,last,none
    server web1-8000 192.0.2.1:8000
    server web1-8500 192.0.2.1:8500
    server web2-8000 [2001:db8::2]:8000
"""  # noqa: E501

FRONTEND = """\
# The last requests at :80, in HAProxy's memory: a push compares new instances with old ones by them.
ring deploy-80
    format iso
    maxlen 512
    size 2097152

# Everything that arrives at :80. Which app serves which name is in the map, made of routes/*.json.
frontend deploy-80 from deploy
    log ring@deploy-80 format iso local0
    bind ':80'
    http-request set-var(txn.deploy_host) req.hdr(host),field(1,:),lower
    http-request set-var(txn.deploy_backend) var(txn.deploy_host),map_str(/etc/haproxy/deploy/hosts-deploy-80.map)
    http-request set-var(txn.deploy_backend) str(*),map_str(/etc/haproxy/deploy/hosts-deploy-80.map) unless { var(txn.deploy_backend) -m found }
    http-request return status 404 content-type text/plain string 'no app serves this name here' unless { var(txn.deploy_backend) -m found }
    use_backend %[var(txn.deploy_backend)]
"""  # noqa: E501

DROP_IN = """\
[Service]
ExecStartPre=-"/usr/bin/env" "python3" "-IS" "/usr/local/lib/deploy/haproxy_reload.py" "join" \
"--folder" "/etc/haproxy/deploy" "--socket" "/run/haproxy/deploy.sock"
ExecStart=
ExecStart=/usr/sbin/haproxy -Ws -f $CONFIG -f "/etc/haproxy/deploy" -p $PIDFILE $EXTRAOPTS
ExecStartPost=-"/usr/bin/env" "python3" "-IS" "/usr/local/lib/deploy/haproxy_reload.py" "hold" \
"--folder" "/etc/haproxy/deploy" "--socket" "/run/haproxy/deploy.sock"
ExecReload=
ExecReload=/usr/sbin/haproxy -Ws -f $CONFIG -f "/etc/haproxy/deploy" -c -q $EXTRAOPTS
ExecReload=-"/usr/bin/env" "python3" "-IS" "/usr/local/lib/deploy/haproxy_reload.py" "dump" \
"--folder" "/etc/haproxy/deploy" "--socket" "/run/haproxy/deploy.sock"
ExecReload=/bin/kill -USR2 $MAINPID
"""


def pool(**changes: Any) -> Pool:
    """A pool of three servers: one host has both its slots in it."""
    health = Health(path="/healthz", status=200, host="shop.example.com", headers={"X-Probe": "50% of 'it'"})
    given: dict[str, Any] = {
        "site": REAL,
        "name": "shop-prod",
        "servers": (
            Server("web1-8000", "192.0.2.1", 8000),
            Server("web1-8500", "192.0.2.1", 8500),
            Server("web2-8000", "2001:db8::2", 8000),
        ),
        "health": health,
    }
    return Pool(**{**given, **changes})


def texts(resources: list[Any]) -> dict[str, str]:
    """File name → content."""
    return {Path(one.path).name: one.content for one in resources if isinstance(one, File)}


def check(folder: Path, wanted: Pool) -> subprocess.CompletedProcess[str]:
    """HAProxy's own opinion of everything the adapter writes for a pool below `folder`."""
    adapter = balancers.get("haproxy")
    for one in (*adapter.base(wanted.site, systemd=False), *adapter.resources(wanted)):
        if isinstance(one, Directory):
            Path(one.path).mkdir(parents=True, exist_ok=True)
        if isinstance(one, File):
            Path(one.path).parent.mkdir(parents=True, exist_ok=True)
            Path(one.path).write_text(one.content)
    deploy = folder / "etc/haproxy/deploy"
    for frontend in deploy.glob("40-*.cfg"):
        (deploy / f"hosts-{frontend.stem[3:]}.map").write_text(f"* {wanted.name}\n")
    return subprocess.run([HAPROXY, "-c", "-f", str(deploy)], capture_output=True, text=True)


def test_a_pool_is_a_backend_a_route_and_the_frontend_of_its_address() -> None:
    found = texts(balancers.get("haproxy").resources(pool(domains=("Shop.example.com", "www.example.com"))))
    assert found["50-shop-prod.cfg"] == BACKEND
    assert found["40-deploy-80.cfg"] == FRONTEND
    assert json.loads(found["shop-prod.json"]) == {
        "app": "shop in prod",
        "listen": ":80",
        "address": "0.0.0.0",
        "port": 80,
        "frontend": "deploy-80",
        "backend": "shop-prod",
        "domains": ["shop.example.com", "www.example.com"],
        "state_file": "/run/haproxy/deploy-shop-prod.state",
        "drained": "/srv/shop/.deploy/drained.json",
        "maintenance": "/srv/shop/.deploy/maintenance.json",
        "secure": None,
        "certificate": "/etc/haproxy/deploy/certificates/shop-prod.pem",
    }


def test_the_frontend_is_the_same_whichever_app_writes_it() -> None:
    adapter = balancers.get("haproxy")
    blog = pool(site=Site(app="blog", env="staging", root="/srv/blog"), name="blog", listen="*:80", domains=("b.org",))
    assert texts(adapter.resources(blog))["40-deploy-80.cfg"] == FRONTEND
    ours = {name_of(one) for one in adapter.resources(pool())}
    shared = ours & {name_of(one) for one in adapter.resources(blog)}
    assert shared == {"/etc/haproxy/deploy/40-deploy-80.cfg", "/etc/haproxy/deploy/closed.map"}


def test_setup_under_systemd_leaves_the_hosts_own_configuration_alone() -> None:
    adapter = balancers.get("haproxy")
    found = adapter.base(REAL, systemd=True)
    paths = [one.path for one in found if isinstance(one, File)]
    assert "/etc/haproxy/haproxy.cfg" not in paths
    assert texts(found)["deploy.conf"].endswith(DROP_IN)
    assert found[-1] == Service("haproxy")
    assert "admin.sock" not in texts(found)["00-deploy.cfg"]
    compile(texts(found)["haproxy_reload.py"], "haproxy_reload.py", "exec")
    ((command,),) = adapter.handlers(REAL, systemd=True).values()
    assert command[-2:] == ("--main", "/etc/haproxy/haproxy.cfg")


def test_the_driver_names_our_socket_unless_the_user_named_one() -> None:
    adapter = balancers.get("haproxy")
    assert adapter.driver(pool()) == {
        "kind": "haproxy",
        "socket": "/run/haproxy/deploy.sock",
        "backend": "shop-prod",
        "state_file": "/run/haproxy/deploy-shop-prod.state",
        "folder": "/etc/haproxy/deploy",
    }
    assert adapter.driver(pool(socket="/run/other.sock"))["socket"] == "/run/other.sock"
    theirs = adapter.driver(pool(options={"manage": False}))
    assert theirs["socket"] == "/run/haproxy/admin.sock"
    assert theirs["addresses"]["web1-8500"] == "192.0.2.1:8500"
    assert theirs["state_file"] == ""


@pytest.mark.parametrize(
    ("changes"),
    [
        {},
        {"listen": "127.0.0.1:8080"},
        {"listen": "[::1]:8080"},
        {"health": Health(path="/a?b='c'&d=\"e\"#%[env(HOME)]\\", headers={"X-Odd": 'a b # "c" ${HOME} %[src] \\ \''})},
        {"health": Health(path="/", host='ho"st %[env(HOME)] #')},
        {"keepalive": 0.0},
        {"servers": ()},
        {"servers": (Server("web-1", "name.invalid", 8000),)},
        {"domains": ("xn--bcher-kva.example",)},
    ],
)
def test_haproxy_accepts_what_is_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    site = Site(app="shop", env="prod", root=f"{tmp_path}/srv/shop", prefix=str(tmp_path))
    done = check(tmp_path, pool(site=site, **changes))
    assert done.returncode == 0, done.stderr
    assert "[ALERT]" not in done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "shop prod"},
        {"name": "shop\nbackend evil"},
        {"listen": "80"},
        {"listen": ":80 ssl"},
        {"listen": "example.com:80"},
        {"listen": ":70000"},
        {"domains": ("shop.example.com evil",)},
        {"domains": ("*.example.com",)},
        {"domains": ("a\nb",)},
        {"health": Health(path="/a b")},
        {"health": Health(path="relative")},
        {"health": Health(headers={"X: y": "z"})},
        {"health": Health(headers={"X-Y": "z\nbackend evil"})},
        {"health": Health(host="a\r\nX: y")},
        {"servers": (Server("web1 8000", "192.0.2.1", 8000),)},
        {"servers": (Server("web1", "192.0.2.1 backup", 8000),)},
        {"site": Site(app="shop", env="prod", root="/tmp/a,b/srv", prefix="/tmp/a,b")},
    ],
)
def test_what_haproxy_cannot_be_told_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        balancers.get("haproxy").resources(pool(**changes))


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(SettingsError) as raised:
        balancers.get("iptables")
    assert "haproxy" in str(raised.value)
