"""The probe as a process of its own: its receipt, its log, and that it never outlives anybody."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deployer import probe
from deployer.errors import DeployError, UsageError


def until(condition: Any, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_against_a_good_server_nothing_fails_and_every_kind_was_sent(good_server: Any, tmp_path: Path) -> None:
    log = tmp_path / "probe.jsonl"
    with probe.start(good_server.url, rate=40, mix="full", log_path=log) as prober:
        began = time.monotonic()
        prober.mark("the beginning")
        until(lambda: len(prober.snapshot().kinds) >= 8)
        prober.mark("the end")
        receipt = prober.stop()
        took = time.monotonic() - began
    assert receipt.failed == 0, receipt.failures
    assert (receipt.stale, receipt.told) == (0, 0)
    assert set(receipt.kinds) == {"get", "post", "keepalive", "late", "page", "slow", "stream", "websocket"}
    assert receipt.requests >= 15 * min(took, receipt.seconds)
    assert set(receipt.releases) == {"r1"}
    assert 0 < receipt.p50_ms <= receipt.p99_ms <= receipt.max_ms < 2000  # beyond the 2 s that a slow request asks for

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["mark"] for line in lines if "mark" in line] == ["the beginning", "the end"]
    answers = [line for line in lines if "ok" in line]
    assert len(answers) == receipt.requests
    assert probe.unproven_answers(log, {"r1": 0.0}) == []
    noon = answers[len(answers) // 2]["ts"]
    assert len(probe.unproven_answers(log, {"r1": noon})) == sum(answer["ts"] < noon for answer in answers)


def test_the_receipt_is_the_contracts_probe_object(good_server: Any) -> None:
    with probe.start(good_server.url, mix="get") as prober:
        until(lambda: prober.snapshot().requests >= 5)
        receipt = prober.stop()
    data = json.loads(json.dumps(receipt.as_json()))
    assert {"requests", "failed", "stale", "p50_ms", "p99_ms", "max_ms"} <= set(data)
    assert probe.Receipt.from_json(data) == receipt
    assert prober.stop() == prober.snapshot() == receipt  # the last word, however often it is asked for


def test_only_what_is_asked_for_is_requested(good_server: Any) -> None:
    seen: list[str] = []

    async def seeing(exchange: Any) -> None:
        seen.append(exchange.head)
        exchange.say("200 OK", b"<html></html>")

    good_server.faults["/shop"] = seeing
    with probe.start(good_server.url + "/shop", mix="get", host_header="shop.example.com") as prober:
        until(lambda: prober.snapshot().requests >= 5)
        assert prober.stop().failed == 0
    assert {head.partition("\r\n")[0] for head in seen} == {"GET /shop HTTP/1.1"}
    assert all("Host: shop.example.com\r\n" in head for head in seen)


def test_https_is_spoken_and_the_certificate_is_checked(tls_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with probe.start(tls_server.url, rate=20, mix="full") as prober:
        until(lambda: {"slow", "stream", "websocket"} <= set(prober.snapshot().kinds))
        receipt = prober.stop()
    assert receipt.failed == 0, receipt.failures
    assert receipt.stale == receipt.told == 0

    monkeypatch.delenv("SSL_CERT_FILE")
    with probe.start(tls_server.url, mix="get") as prober:
        until(lambda: prober.snapshot().requests >= 3)
        receipt = prober.stop()
    assert receipt.failed == receipt.requests
    assert set(receipt.causes) == {"tls"}
    assert "certificate" in receipt.failures[0].what.lower()


def test_one_question_tells_how_the_url_answers(good_server: Any) -> None:
    async def not_found(exchange: Any) -> None:
        exchange.say("404 Not Found", b"nothing here")

    async def elsewhere(exchange: Any) -> None:
        exchange.say("302 Found", b"", extra="Location: https://shop.example.com/\r\n")

    async def too_late(exchange: Any) -> None:
        await asyncio.sleep(1)

    good_server.faults |= {"/none": not_found, "/moved": elsewhere, "/late": too_late}
    assert probe.ask(good_server.url) == probe.Answer(200) and probe.Answer(200).good
    assert probe.ask(good_server.url + "/none") == probe.Answer(404) and not probe.Answer(404).good
    moved = probe.ask(good_server.url + "/moved")
    assert moved == probe.Answer(302, leads_to="https://shop.example.com/") and moved.good
    late = probe.ask(good_server.url + "/late", limit=0.1)
    assert late == probe.Answer(why="late: not answered within 0.1 s") and not late.good
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = probe.ask(f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert refused == probe.Answer(why="refused: nothing listens") and not refused.good
    with pytest.raises(UsageError, match="not an http:// or https:// URL"):
        probe.ask("shop.example.com")


def test_where_a_url_is_known_to_answer_a_missing_page_fails(good_server: Any) -> None:
    async def not_found(exchange: Any) -> None:
        exchange.say("404 Not Found", b"nothing here")

    good_server.faults["/"] = not_found
    with probe.start(good_server.url, mix="found", rate=40) as prober:
        until(lambda: len(prober.snapshot().kinds) == 2)
        receipt = prober.stop()
    assert receipt.failed == receipt.requests and set(receipt.causes) == {"status"}
    assert set(receipt.kinds) == {"get", "keepalive"}


def test_it_dies_with_its_parent(good_server: Any) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from deployer import probe\n"
            "prober = probe.start(sys.argv[1])\n"
            "print('started', flush=True); time.sleep(60)",
            good_server.url,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None and parent.stdout.readline() == "started\n"
        children = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
        assert children and all(map(running, children))
        parent.kill()
    until(lambda: not any(map(running, children)))


def running(pid: int) -> bool:
    """Whether `pid` runs; a zombie that nobody has reaped yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_it_ends_by_itself(good_server: Any) -> None:
    read, write = os.pipe()
    try:
        for bound in ("--max-seconds=0.5", "--max-requests=5"):
            command = [sys.executable, "-m", "deployer.probe", good_server.url, bound]
            done = subprocess.run(command, stdin=read, capture_output=True, text=True, timeout=20)
            receipt = json.loads(done.stdout.splitlines()[-1])["receipt"]
            assert done.returncode == 0
            assert 0 < receipt["requests"] < 25
    finally:
        os.close(read)
        os.close(write)


def test_a_probe_that_was_killed_is_said_to_be_dead(good_server: Any) -> None:
    with probe.start(good_server.url) as prober:
        prober._process.kill()
        prober._process.wait()
        with pytest.raises(DeployError, match="the probe died") as raised:
            prober.snapshot()
    assert raised.value.code == "probe_died"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "shop.example.com"}, "not an http:// or https:// URL"),
        ({"url": "http://127.0.0.1/a b"}, "a space"),
        ({"url": "http://127.0.0.1", "host_header": "a\r\nX: y"}, "a control character"),
        ({"url": "http://127.0.0.1", "mix": "everything"}, "unknown mix 'everything'"),
        ({"url": "http://127.0.0.1", "rate": 0}, "a rate of 0"),
    ],
)
def test_nonsense_is_refused_before_anything_starts(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        probe.start(**options)


def test_the_process_loads_nothing_of_the_rest(good_server: Any) -> None:
    code = (
        "import runpy, sys; sys.argv = ['probe', '--help']\n"
        "try: runpy.run_module('deployer.probe', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in"
        " ('deployer', 'pydantic', 'paramiko', 'rich', 'pytest')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = eval(shown.splitlines()[-1])
    assert [name for name in loaded if not name.startswith("deployer.probe")] == ["deployer", "deployer.errors"]
