"""What nginx's adapter writes: goldens that nginx itself reads, and values that try to break out of their place."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer import balancers
from deployer.agent.balancer.nginx import reload_tool as nginx_reload
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File, Service, name_of
from deployer.agent.model.supervision import Health
from deployer.balancers import Pool, Server
from deployer.balancers.base import Www
from deployer.balancers.values import Listen
from deployer.errors import SettingsError
from deployer.lab.processes import nginx as plain

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
REAL = Site(app="shop", env="prod", root="/srv/shop")

POOL = """\
# shop in prod
upstream shop-prod {
    zone shop-prod 68k;
    least_conn;
    server unix:/run/deploy-nginx/213b417abd.sock max_fails=0;
    server unix:/run/deploy-nginx/700621bb02.sock max_fails=0;
}
server {
    listen 80;
    server_name shop.example.com www.example.com;
    include /etc/nginx/deploy/front.inc;
    location / {
        open_file_cache off;
        error_page 503 /.deploy-maintenance;
        if (-f /var/lib/deploy-nginx/gates/shop-prod/.maintenance) {
            return 503;
        }
        error_page 502 = @deploy_nobody;
        error_page 418 = @deploy_upgrade;
        if ($http_upgrade) {
            return 418;
        }
        proxy_pass http://shop-prod;
    }
    location @deploy_upgrade {
        proxy_read_timeout 3600000ms;
        proxy_send_timeout 3600000ms;
        proxy_pass http://shop-prod;
    }
    location = /.deploy-maintenance {
        internal;
        default_type text/html;
        charset utf-8;
        add_header Retry-After 120 always;
        add_header Cache-Control no-store always;
        alias /etc/nginx/deploy/maintenance-shop-prod.html;
    }
}

# For what this host's own configuration leads here: proxy_pass http://unix:/run/deploy-nginx/shop-prod.sock;
server {
    listen unix:/run/deploy-nginx/shop-prod.sock backlog=4096;
    include /etc/nginx/deploy/front.inc;
    set_real_ip_from unix:;
    real_ip_header X-Forwarded-For;
    location / {
        open_file_cache off;
        keepalive_timeout 0;
        error_page 503 /.deploy-maintenance;
        if (-f /var/lib/deploy-nginx/gates/shop-prod/.maintenance) {
            return 503;
        }
        error_page 502 = @deploy_nobody;
        error_page 418 = @deploy_upgrade;
        if ($http_upgrade) {
            return 418;
        }
        proxy_pass http://shop-prod;
    }
    location @deploy_upgrade {
        proxy_read_timeout 3600000ms;
        proxy_send_timeout 3600000ms;
        proxy_pass http://shop-prod;
    }
    location = /.deploy-maintenance {
        internal;
        default_type text/html;
        charset utf-8;
        add_header Retry-After 120 always;
        add_header Cache-Control no-store always;
        alias /etc/nginx/deploy/maintenance-shop-prod.html;
    }
}

# web1-8000, web1-8500
server {
    listen unix:/run/deploy-nginx/213b417abd.sock backlog=4096;
    set $deploy_counts "";
    set $deploy_to "";
    set $deploy_or "";
    if (!-f /var/lib/deploy-nginx/gates/shop-prod/web1-8500) {
        set $deploy_to shop-prod.web1-8500;
        set $deploy_or .or.web1-8500;
    }
    if (!-f /var/lib/deploy-nginx/gates/shop-prod/web1-8000) {
        set $deploy_to shop-prod.web1-8000$deploy_or;
    }
    if ($http_x_deploy_slot) {
        set $deploy_to shop-prod.$http_x_deploy_slot;
    }
    if ($deploy_to = "") {
        return 503;
    }
    include /etc/nginx/deploy/slot.inc;
}

# web2-8000
server {
    listen unix:/run/deploy-nginx/700621bb02.sock backlog=4096;
    set $deploy_counts "";
    set $deploy_to "";
    if (!-f /var/lib/deploy-nginx/gates/shop-prod/web2-8000) {
        set $deploy_to shop-prod.web2-8000;
    }
    if ($http_x_deploy_slot) {
        set $deploy_to shop-prod.$http_x_deploy_slot;
    }
    if ($deploy_to = "") {
        return 503;
    }
    include /etc/nginx/deploy/slot.inc;
}
"""


def pool(**changes: Any) -> Pool:
    """A pool of two instances, one of them with two slots."""
    given: dict[str, Any] = {
        "site": REAL,
        "name": "shop-prod",
        "servers": (
            Server("web1-8000", "192.0.2.1", 8000, "web1:0"),
            Server("web1-8500", "192.0.2.1", 8500, "web1:0"),
            Server("web2-8000", "2001:db8::2", 8000),
        ),
        "health": Health(path="/healthz", status=200),
    }
    return Pool(**{**given, **changes})


def texts(resources: list[Any]) -> dict[str, str]:
    """File name → content."""
    return {Path(one.path).name: one.content for one in resources if isinstance(one, File)}


def check(folder: Path, *pools: Pool) -> subprocess.CompletedProcess[str]:
    """nginx's own opinion of everything the adapter writes for pools below `folder`."""
    adapter = balancers.get("nginx")
    for name in ("run/deploy-nginx", "var/log/nginx", "var/lib/nginx", "etc/nginx/conf.d"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/nginx/nginx.conf").write_text(plain.configuration(folder))
    for one in (
        *adapter.base(pools[0].site, systemd=False),
        *(one for each in pools for one in adapter.resources(each)),
    ):
        if isinstance(one, Directory):
            Path(one.path).mkdir(parents=True, exist_ok=True)
        if isinstance(one, File):
            Path(one.path).parent.mkdir(parents=True, exist_ok=True)
            Path(one.path).write_text(one.content)
    deploy = folder / "etc/nginx/deploy"
    for path, text in nginx_reload.servers(str(deploy), nginx_reload.routes(str(deploy)), "").items():
        Path(path).write_text(text or "")
    command = [NGINX, "-t", "-c", f"{folder}/etc/nginx/nginx.conf", "-p", f"{folder}/"]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_pool_is_a_server_an_upstream_and_a_listener_an_instance() -> None:
    found = texts(balancers.get("nginx").resources(pool(domains=("Shop.example.com", "www.example.com"))))
    assert found["50-shop-prod.conf"] == POOL
    route = json.loads(found["shop-prod.json"])
    assert route["domains"] == ["shop.example.com", "www.example.com"]
    assert (route["app"], route["address"], route["port"]) == ("shop in prod", "0.0.0.0", 80)
    assert route["servers"]["web1-8500"] == {
        "address": "192.0.2.1",
        "port": 8500,
        "socket": route["servers"]["web1-8000"]["socket"],
    }


def test_a_server_whose_name_leads_nowhere_keeps_its_addresses() -> None:
    servers = {
        "web1-8000": {"address": "localhost", "port": 8000, "socket": "/1"},
        "web2-8000": {"address": "gone.invalid", "port": 8000, "socket": "/2"},
        "web2-8500": {"address": "2001:db8::2", "port": 8500, "socket": "/2"},
        "web4-8000": {"address": "new.invalid", "port": 8000, "socket": "/4"},
    }
    before = "upstream shop.web2-8000 {\n    server 192.0.2.2:8000 max_fails=0;\n}\n"
    (text,) = nginx_reload.servers("/etc/nginx/deploy", [{"pool": "shop", "servers": servers}], before).values()
    assert text is not None
    assert "upstream shop.web1-8000 {\n    server 127.0.0.1:8000 max_fails=0;\n" in text
    assert before in text
    either = "    server 192.0.2.2:8000 max_fails=0;\n    server [2001:db8::2]:8500 max_fails=0 backup;\n"
    assert "upstream shop.web2-8000.or.web2-8500 {\n" + either in text
    assert "upstream shop.web4-8000 {\n    server 127.0.0.1:1 down;\n}\n" in text


def test_an_app_without_domains_takes_what_nobody_claims_and_is_no_default_server() -> None:
    text = texts(balancers.get("nginx").resources(pool()))["50-shop-prod.conf"]
    assert '    server_name "" ~^;\n' in text
    assert "default_server" not in text


def test_setup_under_systemd_leaves_the_hosts_own_configuration_alone() -> None:
    adapter = balancers.get("nginx")
    found = adapter.base(REAL, systemd=True)
    paths = {one.path for one in found if isinstance(one, File)}
    assert not paths & {"/etc/nginx/nginx.conf", "/etc/nginx/sites-enabled/default"}
    assert texts(found)["deploy.conf"].endswith("[Service]\nRuntimeDirectory=deploy-nginx\n")
    assert found[-1] == Service("nginx")
    assert "/etc/nginx/conf.d/deploy.conf" in paths
    compile(texts(found)["nginx_reload.py"], "nginx_reload.py", "exec")


def test_two_apps_share_no_file_but_the_base() -> None:
    adapter = balancers.get("nginx")
    blog = pool(site=Site(app="blog", env="staging", root="/srv/blog"), name="blog", domains=("b.org",))
    ours = {name_of(one) for one in adapter.resources(pool())}
    assert not ours & {name_of(one) for one in adapter.resources(blog)}


def test_the_driver_knows_the_pool_its_gates_and_what_to_ask() -> None:
    adapter = balancers.get("nginx")
    driver = adapter.driver(pool(domains=("shop.example.com",)))
    assert driver["route"] == "/etc/nginx/deploy/routes/shop-prod.json"
    assert driver["gates"] == "/var/lib/deploy-nginx/gates/shop-prod"
    assert (driver["health"]["path"], driver["health"]["host"]) == ("/healthz", "shop.example.com")
    with pytest.raises(SettingsError, match="manage"):
        adapter.driver(pool(options={"manage": False}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"listen": "127.0.0.1:8080"},
        {"listen": "[::1]:8080"},
        {"listen": "[::]:8080"},
        {"servers": ()},
        {"servers": (Server("web1-8500", "192.0.2.1", 8500, "web1:0"),)},
        {"servers": (Server("web-1", "localhost", 8000),)},
        {"servers": tuple(Server(f"web{n}-8000", f"192.0.2.{n}", 8000) for n in range(1, 201))},
        {"domains": ("xn--bcher-kva.example", "B.example.com")},
        {"domains": tuple(f"{n}.{'a' * 60}.example.com" for n in range(100))},
        {"www": Www("/static/", "/srv/shop/current/.deploy-www")},
    ],
)
def test_nginx_accepts_what_is_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    site = Site(app="shop", env="prod", root=f"{tmp_path}/srv/shop", prefix=str(tmp_path))
    done = check(tmp_path, pool(site=site, **{"listen": ":8080", **changes}))
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr, done.stderr


def test_nginx_accepts_several_apps_at_one_address(tmp_path: Path) -> None:
    site = Site(app="shop", env="prod", root=f"{tmp_path}/srv/shop", prefix=str(tmp_path))
    blog = Site(app="blog", env="prod", root=f"{tmp_path}/srv/blog", prefix=str(tmp_path))
    done = check(
        tmp_path,
        pool(site=site, listen=":8080"),
        pool(site=blog, name="blog-prod", listen="*:8080", domains=("blog.example.com",)),
        pool(site=replace(blog, env="test"), name="blog-test", listen="[::]:8080", domains=("test.example.com",)),
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "shop prod"},
        {"name": "shop;\nserver {}"},
        {"listen": "80"},
        {"listen": ":80 ssl"},
        {"listen": "example.com:80"},
        {"listen": ":70000"},
        {"domains": ("shop.example.com evil",)},
        {"domains": ("*.example.com",)},
        {"domains": ("a;}",)},
        {"domains": ("$host",)},
        {"servers": (Server("web1 8000", "192.0.2.1", 8000),)},
        {"servers": (Server("web1", "192.0.2.1 backup", 8000),)},
        {"servers": (Server("web1", "unix:/run/x", 8000),)},
        {"www": Www("/static/;", "/srv/shop")},
        {"www": Www("/static/", "/srv/$shop")},
        {"site": Site(app="shop", env="prod", root="/tmp/a;b/srv", prefix="/tmp/a;b")},
        {"site": Site(app="shop", env="prod", root="/tmp/$a/srv", prefix="/tmp/$a")},
    ],
)
def test_what_nginx_cannot_be_told_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        balancers.get("nginx").resources(pool(**changes))


def _place(listen: str, app: str, *domains: str, **more: Any) -> dict[str, Any]:
    parsed = Listen.parse(listen)
    at = {"listen": parsed.text, "address": parsed.address, "port": parsed.port, "frontend": parsed.name}
    return {**at, "app": app, "domains": list(domains), "secure": None, **more}


def test_every_ipv6_address_is_listened_at_with_ipv4_too(tmp_path: Path) -> None:
    """nginx takes `[::]:80` for IPv6 alone, where HAProxy and Caddy serve both."""
    apps = [_place("[::]:80", "shop", "shop.example.com")]
    (text,) = nginx_reload.not_found(str(tmp_path), apps, []).values()
    assert text is not None and "    listen [::]:80;\n    listen 80;\n" in text
    secure = _place("[::]:443", "shop")
    apps = [_place("[::]:80", "shop", "shop.example.com", secure=secure)]
    (lines,) = nginx_reload.secure_listens(str(tmp_path), apps, (1, 26, 0)).values()
    assert lines == "listen [::]:443 ssl;\nlisten 443 ssl;\nhttp2 on;\n"


def test_two_places_that_share_an_address_have_one_server_of_unknown_names_there(tmp_path: Path) -> None:
    apps = [_place("[::]:80", "shop", "shop.example.com"), _place(":80", "blog", "blog.example.com")]
    texts = [text or "" for text in nginx_reload.not_found(str(tmp_path), apps, []).values()]
    assert sorted(text.count("listen ") for text in texts) == [1, 1]
    with pytest.raises(nginx_reload.Refused, match="both serve shop"):
        nginx_reload.refuse_clashes([apps[0], {**apps[1], "domains": ["shop.example.com"]}])
