"""A balancer whose answers are cut off or garbled: one kind of error, which its watchdog survives and tries again."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.balancer import drain_records
from deployer.agent.balancer import watchdog as balancer_watchdog
from deployer.agent.balancer.caddy import reload_tool as caddy_reload
from deployer.agent.balancer.caddy.reload_tool import age_of_slot, write_slot
from deployer.agent.balancer.haproxy import reload_tool as haproxy_reload
from deployer.agent.balancer.kinds import create_driver
from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError

_STATE_NAMES = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord"
)


class HAProxySocket:
    """What HAProxy 2.6 answers about two servers, each answer put through `spoil` before it is sent."""

    def __init__(self) -> None:
        self.spoil: Callable[[str, bytes], bytes] = lambda command, answer: answer
        self.admin = {"web1": 8, "web2": 0}
        self.set: list[str] = []

    def answer(self, command: str) -> bytes:
        return self.spoil(command, self._whole(command))

    def _whole(self, command: str) -> bytes:
        if command.startswith("show servers state"):
            rows = [
                f"3 shop {number} {name} 192.0.2.{number} 2 {admin} 1 1 588 15 3 2 6 0 0 0 - 8000 -"
                for number, (name, admin) in enumerate(self.admin.items(), 1)
            ]
            return "\n".join(["1", "# " + _STATE_NAMES, *rows, "", ""]).encode()
        if command.startswith("show stat"):
            rows = [f"shop,{name},0,UP,L7OK," for name in self.admin]
            return "\n".join(["# pxname,svname,scur,status,check_status,", *rows, "", ""]).encode()
        if command.startswith("set server"):
            self.set.append(command)
            self.admin[command.split("/")[1].split()[0]] = 0 if command.endswith("ready") else 8
            return b"\n"
        return b"\n"


@contextmanager
def serving(path: str, answer: Callable[[bytes], bytes]) -> Iterator[None]:
    """Answers each connection's first line (or HTTP request), and closes it."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(16)

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.sendall(answer(client.recv(1 << 16)))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("haproxy", "caddy"):
        monkeypatch.setattr(f"deployer.agent.balancer.{kind}.driver._PATIENCE", 0.0)
    monkeypatch.setattr(haproxy_reload, "PATIENCE", 0.0)


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[tuple[HAProxySocket, dict[str, Any]]]:
    made = HAProxySocket()
    path = str(tmp_path / "admin.sock")
    with serving(path, lambda line: made.answer(line.decode().strip())):
        yield made, {"kind": "haproxy", "socket": path, "backend": "shop"}


def test_whole_answers_are_read(haproxy: tuple[HAProxySocket, dict[str, Any]]) -> None:
    servers = create_driver(haproxy[1]).servers()
    assert {name: (one.state, one.port) for name, one in servers.items()} == {
        "web1": ("DRAIN", 8000),
        "web2": ("UP", 8000),
    }


@pytest.mark.parametrize("command", ["show servers state", "show stat"])
def test_an_answer_of_haproxy_that_is_cut_anywhere_is_no_answer(
    haproxy: tuple[HAProxySocket, dict[str, Any]], command: str
) -> None:
    """Also one that is cut between two lines: its servers must not count as removed from the pool."""
    balancer, order = haproxy
    length = len(balancer._whole(command))
    for size in range(0, length, 7 if length > 300 else 1):
        balancer.spoil = lambda asked, answer, end=size: answer[:end] if asked.startswith(command) else answer  # type: ignore[misc]
        with pytest.raises(OpError) as caught:
            create_driver(order).servers()
        assert caught.value.code == "balancer_down", size


def test_a_cut_answer_to_a_drain_is_an_error(haproxy: tuple[HAProxySocket, dict[str, Any]]) -> None:
    balancer, order = haproxy
    balancer.spoil = lambda asked, answer: b"" if asked.startswith("set") else answer
    with pytest.raises(OpError, match="cut off"):
        create_driver(order).set(["web1"], "drain")


def test_the_state_is_read_again_where_a_reload_cut_the_answer(
    haproxy: tuple[HAProxySocket, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that was asked may be replaced before its answer has left."""
    monkeypatch.setattr(haproxy_reload, "PATIENCE", 20.0)
    balancer, order = haproxy
    cut = iter([b"", b"1\n# be", b"1\n"])
    balancer.spoil = lambda asked, answer: next(cut, answer)
    haproxy_reload.dump(order["socket"], "shop", str(tmp_path / "state"))
    assert (tmp_path / "state").read_text().startswith("1\n# be_id") and next(cut, None) is None


def test_nobody_waits_for_an_haproxy_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy_reload, "PATIENCE", 1e9)
    with pytest.raises(FileNotFoundError):
        haproxy_reload.state_of(str(tmp_path / "none"), "shop")


GARBLED = (
    b"1\n# srv_name\nweb1\n\n",
    b"1\n# \n\n\n",
    b"1\n\n",
    b"1\n\xff\xfe\n\n\n",
    b"1\n" + b"x " * 40 + b"\ny\n\n",
    b"2\n\n",
    b"1\n# srv_name srv_addr srv_port srv_admin_state\nweb1 192.0.2.1\n\n",
    b"1\n# srv_name srv_addr srv_port srv_admin_state\nweb1 192.0.2.1 x 0\n\n",
    b"1\n# srv_name srv_addr srv_port srv_admin_state\nweb1 192.0.2.1 8000 x\n\n",
)


@pytest.mark.parametrize("answer", GARBLED)
def test_a_garbled_answer_of_haproxy_is_no_answer(haproxy: tuple[HAProxySocket, dict[str, Any]], answer: bytes) -> None:
    balancer, order = haproxy
    balancer.spoil = lambda asked, whole: answer if asked.startswith("show servers") else whole
    with pytest.raises(OpError) as caught:
        create_driver(order).servers()
    assert caught.value.code == "balancer_down"


def _watchdog_order(site: Site, order: dict[str, Any]) -> str:
    """A watchdog that is due: its agent is dead, and this run holds web1 out."""
    os.makedirs(site.state, exist_ok=True)
    with drain_records.editing(site) as records:
        records["web1"] = drain_records.record("run", "run-7", "me@here", "a push")
    path = f"{site.state}/watchdog-run-7.json"
    agent = {"pid": 2**22 + 1, "ticks": 1}
    Path(path).write_text(
        json.dumps({"site": site.to_wire(), "run": "run-7", "driver": order, "bound": 0.0, "agent": agent})
    )
    Path(f"{site.state}/watchdog-run-7.alive").write_text("0.0\n")
    return path


def _instead(garbled: bytes, whole: bytes) -> bytes:
    return garbled


def test_the_watchdog_survives_answers_that_are_cut_or_garbled_and_admits_in_the_end(
    haproxy: tuple[HAProxySocket, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    balancer, order = haproxy
    site = Site("shop", "prod", str(tmp_path / "srv"), prefix=str(tmp_path))
    path = _watchdog_order(site, order)
    bad: Iterator[Callable[[bytes], bytes]] = iter(
        [lambda whole: whole[:-30], lambda whole: b"", *(partial(_instead, one) for one in GARBLED)]
    )

    def spoil(asked: str, whole: bytes) -> bytes:
        change = next(bad, None) if asked.startswith("show servers") else None
        return whole if change is None else change(whole)

    balancer.spoil = spoil
    ended: list[int] = []
    watchdog = threading.Thread(target=lambda: ended.append(balancer_watchdog.main([path])), daemon=True)
    watchdog.start()
    watchdog.join(30)
    assert ended == [0], "it died, or never ended"
    assert balancer.admin["web1"] == 0 and drain_records.read(site) == {}
    assert capsys.readouterr().err.count("OpError") == 2 + len(GARBLED)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(("nginx", text) for text in ('{"servers"', "{}", "[]", '{"servers": {"web1": {}}}')),
        *(("caddy", text) for text in ("{", "[]", '{"slots": 5}')),
    ],
)
def test_a_garbled_file_of_the_pool_is_no_answer(tmp_path: Path, kind: str, text: str) -> None:
    (tmp_path / "pool").write_text(text)
    pool = str(tmp_path / "pool")
    nginx = {"kind": "nginx", "route": pool, "gates": str(tmp_path), "requests": "", "health": {}}
    caddy = {"kind": "caddy", "socket": f"{tmp_path}/s", "ask": "", "app": pool, "slots": str(tmp_path), "requests": ""}
    with serving(f"{tmp_path}/s", lambda line: _http(b"[]")), pytest.raises(OpError) as caught:
        create_driver(nginx if kind == "nginx" else caddy).servers()
    assert caught.value.code == "balancer_down"


def _http(body: bytes, length: int | None = None) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body) if length is None else length, body)


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"HTTP/1.1 200 OK\r\n", _http(b"[{", 40), _http(b"{}x"), _http(b"5"), _http(b'{"address": 1}')),
        *(_http(b"[5]"), _http(b"[{}]"), _http(b'[{"address": []}]'), _http(b"[" * 100_000), b"\x15\x03\x01"),
    ],
)
def test_an_answer_of_caddy_that_is_cut_or_garbled_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    (tmp_path / "pool").write_text(json.dumps({"slots": {"web1": "192.0.2.1:8000"}}))
    order = {
        "kind": "caddy",
        "socket": f"{tmp_path}/s",
        "ask": "",
        "app": f"{tmp_path}/pool",
        "slots": "",
        "requests": "",
    }
    with serving(order["socket"], lambda line: answer), pytest.raises(OpError) as caught:
        create_driver(order).servers()
    assert caught.value.code == "balancer_down"


@pytest.mark.parametrize(
    "printed", ["", "drain ²", "drain 7x", "ready\\0", "\\377", "drain -1", "drain 99999999999999999999"]
)
def test_odd_words_of_a_command_are_no_answer_or_no_figure(tmp_path: Path, printed: str) -> None:
    order = {
        **asdict(Site("shop", "prod", str(tmp_path), prefix=str(tmp_path))),
        "kind": "command",
        "backend": "shop",
        "drain": "true",
        "admit": "true",
        "timeout": 5,
        "servers": {"w": {"host": "web1", "instance": 0}},
        "addresses": {"w": "192.0.2.1:8000"},
        "site": asdict(Site("shop", "prod", str(tmp_path), prefix=str(tmp_path))),
        "state": f"printf '{printed}'",
    }
    try:
        assert create_driver(order).servers()["w"].sessions >= 1
    except OpError as error:
        assert error.code == "balancer_down"


def test_the_age_of_a_slot_does_not_follow_the_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "slot")
    now = [5000.0]
    monkeypatch.setattr(caddy_reload, "_boot_clock", lambda: now[0])
    write_slot(path, "192.0.2.1:8000\n")
    assert age_of_slot(path) == 0.0
    now[0] += 7.5
    assert age_of_slot(path) == 7.5
    now[0] = 40.0
    assert age_of_slot(path) is None, "the host was booted since"
    Path(path).touch()
    now[0] = 5000.0
    assert age_of_slot(path) is None, "it was written by the wall clock, before this was so"
