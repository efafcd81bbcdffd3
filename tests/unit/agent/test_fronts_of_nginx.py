"""Which of the files that nginx reads leads to the app: nginx itself is asked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from deployer.agent.model.layout import Site
from deployer.agent.model.messages.takeover import FindFront, FrontFound
from deployer.agent.operation import Context
from deployer.agent.takeover import frontends
from deployer.agent.takeover import operations as adopting

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SOCKET = "unix:/run/deploy-nginx/shop-prod.sock"
SITE = """\
server {
    listen 127.0.0.1:18080;
    proxy_set_header Host $host;
    location / { proxy_pass http://192.0.2.1:8000; }
}
"""
ELSEWHERE = "server { listen 127.0.0.1:18081; location / { proxy_pass http://192.0.2.9:8000; } }\n"

pytestmark = pytest.mark.skipif(not os.path.exists(NGINX), reason="needs nginx")


class Host:
    """An nginx whose configuration lies in a folder, and an agent that finds it in its PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.enabled, self.conf_d = folder / "sites-enabled", folder / "conf.d"
        for each in (self.enabled, self.conf_d, folder / "bin"):
            each.mkdir()
        main = folder / "nginx.conf"
        logs = f"pid {folder}/pid; error_log {folder}/error.log;"
        http = f"access_log off; include {self.conf_d}/*.conf; include {self.enabled}/*;"
        main.write_text(f"{logs} events {{ }} http {{ {http} }}\n")
        program = folder / "bin/nginx"
        program.write_text(f'#!/bin/sh\nexec {NGINX} -c {main} -p {folder} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")

    def look(self) -> FrontFound:
        request: FindFront = {
            "site": Site("shop", "prod", "/srv/shop").to_wire(),
            "kind": "nginx",
            "path": "",
            "places": {"192.0.2.1:8000": "web1"},
            "backend": SOCKET,
        }
        return adopting.look(Context(), request)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_the_file_is_found_by_the_name_that_nginx_has_for_it(host: Host, tmp_path: Path) -> None:
    (tmp_path / "shop").write_text(SITE)
    (host.enabled / "shop").symlink_to(tmp_path / "shop")
    (host.conf_d / "other.conf").write_text(ELSEWHERE)
    (host.conf_d / "backup.conf.old").write_text(SITE)
    found = host.look()
    assert found["path"] == str(host.enabled / "shop") and found["why"] == "" and not found["led"]
    assert found["backends"] == ["192.0.2.1:8000"] and SOCKET in found["diff"]
    (tmp_path / "shop").write_text(SITE.replace("192.0.2.1:8000", SOCKET))
    again = host.look()
    assert again["led"] and again["diff"] == ""


def test_bytes_that_are_no_text_stay_what_they_are(host: Host) -> None:
    written = "# caf\u00e9\n".encode("latin-1") + SITE.encode()
    (host.conf_d / "shop.conf").write_bytes(written)
    found = host.look()
    assert found["why"] == "" and frontends.encoded(frontends.read(found["path"])) == written


def test_what_is_in_no_file_or_in_two_is_said(host: Host) -> None:
    (host.conf_d / "other.conf").write_text(ELSEWHERE)
    assert "no file that nginx reads sends to the app" in host.look()["why"]
    (host.conf_d / "a.conf").write_text(SITE)
    (host.conf_d / "b.conf").write_text(SITE.replace("18080", "18082"))
    why = host.look()["why"]
    assert "a.conf and " in why and "both send to the app" in why


def test_a_file_that_cannot_be_led_is_named_and_so_is_a_configuration_that_nginx_refuses(host: Host) -> None:
    (host.conf_d / "a.conf").write_text(SITE.replace("proxy_set_header Host $host;", ""))
    assert host.look()["why"].startswith(str(host.conf_d / "a.conf")) and "proxy_set_header" in host.look()["why"]
    (host.conf_d / "a.conf").write_text("server { nonsense; }")
    assert "nginx -T" in host.look()["why"]
