"""Lines of balancers' logs become figures; what users did themselves is no server's fault."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from deployer.agent.balancer.caddy import requests as caddy_requests
from deployer.agent.balancer.driver import Request
from deployer.agent.balancer.haproxy.requests import requests
from deployer.agent.balancer.nginx import requests as nginx_requests
from deployer.agent.balancer.statistics import tally


def line(server: str = "web1-8000", status: int = 200, ended: str = "----", took: int = 7, age: float = 0.0) -> str:
    at = datetime.fromtimestamp(time.time() - age, UTC).isoformat(timespec="microseconds")
    return (
        f"{at} 192.0.2.9:35504 [24/Nov/2026:19:53:40.299] deploy-80 shop-prod/{server} 0/0/0/{took}/+48 {status} 500 "
        f'- - {ended} 1/1/0/0/+1 0/0 "GET /a HTTP/1.1"'
    )


def read(*lines: str, last: float = 60.0) -> list[Request]:
    return list(requests("\n".join([*lines, "", ""]), "shop-prod", last))


def test_a_line_of_haproxy_says_who_answered_what_and_when() -> None:
    assert read(line(), line("web2-8000", 503)) == [
        Request("web1-8000", 200, 7.0),
        Request("web2-8000", 503, 7.0),
    ]


def test_lost_is_what_the_server_broke_off_and_not_what_a_user_did() -> None:
    lost = read(line(status=503, ended="SC--", took=-1), line(status=504, ended="sH--"), line(ended="SD--"))
    assert [each.status for each in lost] == [None, None, None]
    assert read(line(ended="CD--"), line(status=-1, ended="CH--", took=-1), line(status=408, ended="cR--")) == []


def test_a_websocket_is_answered_however_it_ends() -> None:
    assert [each.status for each in read(line(status=101, ended="sD--"), line(status=101, ended="CD--"))] == [101, 101]


def test_other_pools_older_lines_and_what_no_server_got_are_left_out() -> None:
    assert read(line("<NOSRV>", 503, "SC--"), line().replace("shop-prod/", "blog/"), line(age=90), "half a li") == []
    assert len(read(line(age=90), last=100)) == 1


def test_the_tally_counts_by_server() -> None:
    found = tally([Request("a", 200, 4.4), Request("a", 500, 4.0), Request("a", None, None), Request("b", 404, 0.2)])
    assert found == {
        "a": {"requests": 3, "failed": 1, "lost": 1, "times": {"4": 2}},
        "b": {"requests": 1, "failed": 0, "lost": 0, "times": {"0": 1}},
    }


PLACES = {"192.0.2.1:8000": "web1-8000", "[2001:db8::2]:8000": "web2-8000"}


def test_a_line_of_nginx_has_every_server_that_was_tried(tmp_path: Path) -> None:
    now = time.time()
    lines = [
        f"{now:.3f}|200|192.0.2.1:8000|200|0.005",
        f"{now:.3f}|200|192.0.2.1:8000, [2001:db8::2]:8000|502, 200|-, 0.010",
        f"{now:.3f}|502|192.0.2.1:8000|502|0.003",
        f"{now:.3f}|499|192.0.2.1:8000|-|-",
        f"{now:.3f}|200|192.0.2.7:9|200|0.003",
        f"{now - 90:.3f}|200|192.0.2.1:8000|200|0.005",
        f"{now:.3f}|503|||",
        "cut o",
    ]
    (tmp_path / "log").write_text("\n".join(lines))
    assert list(nginx_requests.requests(str(tmp_path), PLACES, 60.0)) == [
        Request("web1-8000", 200, 5.0),
        Request("web1-8000", None, None),
        Request("web2-8000", 200, 10.0),
        Request("web1-8000", 502, 3.0),
    ]


def test_nginx_logs_only_for_as_long_as_somebody_asks(tmp_path: Path) -> None:
    log, now = tmp_path / "log", int(time.time()) // nginx_requests.SLICE
    log.write_text("of an earlier run\n")
    (tmp_path / str(now - 7)).mkdir()
    (tmp_path / str(now - 7) / "dead").touch()
    nginx_requests.ask(str(tmp_path), "shop", 250)
    asked = sorted(int(each.name) for each in tmp_path.iterdir() if each.is_dir())
    assert asked[0] in (now, now + 1) and len(asked) in (3, 4) and log.read_text() == ""
    log.write_text("of this run\n")
    nginx_requests.ask(str(tmp_path), "blog", 10)
    nginx_requests.ask(str(tmp_path), "shop", 0)
    assert log.read_text() and [each.name for each in tmp_path.glob("*/*")] == ["blog"] * len(list(tmp_path.glob("*/")))
    nginx_requests.ask(str(tmp_path), "blog", 0)
    assert [each.name for each in tmp_path.iterdir()] == ["log"]


def test_a_line_of_caddy_says_where_and_how_fast(tmp_path: Path) -> None:
    now = time.time()
    lines = [
        {"ts": now, "status": 200, "at": "192.0.2.1:8000", "took": 7.4},
        {"ts": now, "status": 502, "at": "192.0.2.1:8000", "took": None},
        {"ts": now, "status": 499, "at": "192.0.2.1:8000", "took": None},
        {"ts": now, "status": 200},
        {"ts": now - 90, "status": 200, "at": "192.0.2.1:8000", "took": 7.4},
    ]
    (tmp_path / "requests.log").write_text("\n".join(map(json.dumps, lines)) + '\n{"ts": 17')
    (tmp_path / "requests-2026-11-24.log").write_text(json.dumps(lines[0]) + "\n")
    found = list(caddy_requests.requests(str(tmp_path / "requests.log"), PLACES, 60.0))
    assert sorted(found, key=str) == sorted(
        [Request("web1-8000", 200, 7.4), Request("web1-8000", None, None), Request("web1-8000", 200, 7.4)], key=str
    )
