"""What HAProxy tells the app of its users, and how long it keeps a silent websocket."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.balanced import until
from support.loopback import free_port
from support.real_haproxy import House

from deployer import runtimes
from deployer.balancers import Server
from deployer.runtimes import Serving, Target
from deployer.settings.models import Runtime

pytestmark = [pytest.mark.lab, pytest.mark.more]

APP = """
async def app(scope, receive, send):
    said = "web1 %s %s shop" % (scope["client"][0], scope["scheme"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})
"""


def told(house: House, claims: str) -> list[str]:
    """What the app gets of a user who claims another address: the user's own comes first."""
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
    connection.request("GET", "/", headers={"Host": "shop.example.com", "X-Forwarded-For": claims})
    return connection.getresponse().read().decode().split()[1:]


def test_a_users_address_is_the_users_or_what_a_trusted_proxy_says(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    balancer_host.apply(balancer_host.pool("shop", web))
    assert told(balancer_host, "6.6.6.6")[0] == "127.0.0.1"
    balancer_host.apply(balancer_host.pool("shop", web, trusted_proxies=("127.0.0.0/8", "2001:db8::/32")))
    assert told(balancer_host, "6.6.6.6, 192.0.2.9")[0] == "192.0.2.9"


def test_a_real_app_behind_uvicorn_sees_its_users(balancer_host: House, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    serving = Serving(app="shop", target=Target("app:app", "asgi"), settings=Runtime(), address="127.0.0.1", workers=1)
    words = [word.replace("$PORT", str(port)) for word in runtimes.get("uvicorn").command(serving)[1:]]
    with subprocess.Popen([sys.executable, *words], cwd=tmp_path, stderr=subprocess.DEVNULL) as app:
        try:
            server = Server("web1-1", "127.0.0.1", port)
            for trusted, seen in (((), "127.0.0.1"), (("127.0.0.0/8",), "192.0.2.9")):
                balancer_host.apply(balancer_host.pool("shop", servers=(server,), trusted_proxies=trusted))
                until("the app serves", lambda: balancer_host.get()[0] == 200)
                assert told(balancer_host, "6.6.6.6, 192.0.2.9")[:2] == [seen, "http"]
        finally:
            app.terminate()


def test_a_silent_websocket_is_kept_for_as_long_as_the_settings_say(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    balancer_host.apply(balancer_host.pool("shop", web, websocket_timeout=2.0))
    connection = http.client.HTTPConnection("127.0.0.1", balancer_host.port, timeout=60)
    headers = {
        "Host": "shop.example.com",
        "Connection": "upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
    }
    connection.request("GET", "/tunnel", headers={**headers, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert connection.getresponse().status == 101
    assert connection.sock is not None
    began = time.monotonic()
    assert connection.sock.recv(1) == b""
    assert time.monotonic() - began >= 1.9
