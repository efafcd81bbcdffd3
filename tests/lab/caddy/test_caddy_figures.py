"""What real Caddy writes down of requests, for the judge of a canary."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.balanced import Web, until
from support.caddy import real_caddy
from support.loopback import free_port

from deployer.agent.balancer import statistics
from deployer.agent.balancer.caddy.reload_tool import Places, answers
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.balancer import ReadStats
from deployer.agent.model.resources import Directory, File
from deployer.agent.model.supervision import Health
from deployer.agent.operation import Context
from deployer.balancers import Pool, Server
from deployer.balancers.caddy import Caddy

pytestmark = pytest.mark.lab


@pytest.fixture
def prefix() -> Iterator[Path]:
    """A host's folder with a Caddy; its path is short, since that of a socket is limited."""
    folder = Path(tempfile.mkdtemp(prefix="cd", dir="/tmp"))
    try:
        given = folder / "var/lib/deploy/caddy/2-given"
        given.mkdir(parents=True)
        (given / "caddy").symlink_to(real_caddy())
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_it_tells_what_came_of_the_last_requests_to_each_slot(prefix: Path) -> None:
    adapter, port, web = Caddy(), free_port(), Web("web1")
    site = Site("shop", "prod", f"{prefix}/srv/shop", prefix=str(prefix))
    servers = (Server(web.server, "127.0.0.1", web.port),)
    pool = Pool(site, "shop-prod", servers, Health(path="/healthz", status=200), listen=f"127.0.0.1:{port}")
    for one in (*adapter.base(site, systemd=False), *adapter.resources(pool)):
        if isinstance(one, Directory):
            Path(one.path).mkdir(parents=True, exist_ok=True)
        if isinstance(one, File):
            Path(one.path).write_text(one.content)
    tool = f"{prefix}/usr/local/lib/deploy/caddy_reload.py"
    caddy = subprocess.Popen([sys.executable, "-IS", tool, "run", "--prefix", str(prefix)])

    def get(path: str, method: str = "GET") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path, body="x=1" if method == "POST" else None)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    try:
        until("Caddy answers", lambda: answers(Places(str(prefix))), 30)
        until("it serves", lambda: get("/") == 200)
        before = len(web.asked)
        for _ in range(before, 10):
            assert get("/") == 200
        for _ in range(3):
            assert get("/says/500") == 500
        assert get("/drop", "POST") == 502
        request: ReadStats = {
            "site": pool.site.to_wire(),
            "driver": adapter.driver(pool),
            "last": 60.0,
            "ahead": 0.0,
        }
        found = statistics.read(Context(), request)["servers"][web.server]
        assert (found["requests"], found["failed"], found["lost"]) == (14, 3, 1), found
        assert sum(found["times"].values()) == 13
        log = Path(Places(str(prefix)).requests).read_text()
        assert "remote" not in log and "/says" not in log, "neither users' addresses nor what they asked"
        assert statistics.read(Context(), {**request, "last": 0.0})["servers"] == {}
    finally:
        caddy.kill()
        caddy.wait(20)
        web.stop()
