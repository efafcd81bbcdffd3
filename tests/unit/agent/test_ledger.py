"""The ledger after crashes, and what it says of releases and of work half done."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.model.layout import Site
from deployer.agent.model.messages.site import ReadLedger
from deployer.agent.operation import Context
from deployer.agent.site import ledger
from deployer.agent.site import operations as site


@pytest.fixture
def shop(tmp_path: Path) -> Site:
    return Site(app="shop", env="prod", root=str(tmp_path))


def current(shop: Site, release: str, previous: str | None, via: str = "push") -> None:
    ledger.append(shop, {"run": "r", "event": "current", "release": release, "previous": previous, "via": via})


def intent(shop: Site, run: str, instance: int | None, op: str = "switch", **more: Any) -> None:
    line: Any = {"run": run, "event": "intent", "op": op, "instance": instance, **more}
    ledger.append(shop, line)


def outcome(shop: Site, run: str, instance: int | None, op: str = "switch", **more: Any) -> None:
    line: Any = {"run": run, "event": "outcome", "op": op, "instance": instance, "ok": True, **more}
    ledger.append(shop, line)


def test_a_host_without_a_ledger_has_done_nothing(shop: Site) -> None:
    assert ledger.read(shop) == []
    assert ledger.proven(shop) == []
    assert ledger.half_done(shop) == []


@pytest.mark.parametrize(
    "line",
    [
        *('{"ts": "x", "event": "current", "release": "R"}', '{"event": "current", "release": [1]}', "null", "[]", "7"),
        *('{"ts": NaN}', '{"ts": 1e300}', '{"ts": -1}', '{"ts": true}', '{"ts": null}', '{"ts": {}}', '{"event": 5}'),
        *('{"run": ["r"]}', '{"who": {}}', '{"duration_s": []}', '{"duration_s": "long"}', '{"why": 0}', "[" * 9999),
        *('{"event": "intent", "instance": [0]}', '{"event": "intent", "port": "8000"}', '{"via": 1}', "\x00\xff"),
    ],
)
def test_a_line_of_other_types_is_skipped_by_every_reader(shop: Site, line: str) -> None:
    current(shop, "R1", None)
    with open(shop.ledger, "ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    current(shop, "R2", "R1")
    entries = site.entries(Context(), {"site": shop.to_wire()})["entries"]
    assert [entry["release"] for entry in entries] == ["R1", "R2"] == ledger.proven(shop)
    assert ledger.half_done(shop) == []


def test_every_torn_last_line_is_skipped_and_repaired_by_the_next(shop: Site) -> None:
    intent(shop, "r1", 0)
    whole = Path(shop.ledger).read_bytes()
    for length in range(len(whole)):
        Path(shop.ledger).write_bytes(whole + whole[:length])
        assert len(ledger.read(shop)) in (1, 2)
        outcome(shop, "r1", 0)
        entries = ledger.read(shop)
        assert entries[-1]["event"] == "outcome", f"lost behind a line torn after {length} bytes"
        assert ledger.half_done(shop) == []


def test_what_a_power_cut_left_in_the_file_hides_nothing(shop: Site) -> None:
    intent(shop, "r1", 0)
    with open(shop.ledger, "ab") as file:
        file.write(b"\0" * 512)
    outcome(shop, "r1", 0)
    assert [entry["event"] for entry in ledger.read(shop)] == ["intent", "outcome"]


def test_many_writers_lose_no_line(shop: Site) -> None:
    def write() -> None:
        for index in range(20):
            intent(shop, "r" * 3000, index)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.read(shop)) == 80


def test_the_last_entries_are_asked_for(shop: Site) -> None:
    for number in range(5):
        intent(shop, f"r{number}", 0)
    request: ReadLedger = {"site": shop.to_wire(), "limit": 2}
    assert [entry["run"] for entry in site.entries(Context(), request)["entries"]] == ["r3", "r4"]
    assert len(ledger.read(shop, 0)) == 0
    assert all(isinstance(entry["ts"], float) for entry in ledger.read(shop))


def test_a_rollback_withdraws_what_it_leaves_until_that_is_pushed_again(shop: Site) -> None:
    current(shop, "a", None)
    current(shop, "b", "a")
    current(shop, "c", "b")
    assert ledger.proven(shop) == ["a", "b", "c"]
    current(shop, "b", "c", "rollback")
    assert (ledger.proven(shop), ledger.withdrawn(shop)) == (["a", "b"], ["c"])
    current(shop, "a", "b", "rollback")
    assert (ledger.proven(shop), ledger.withdrawn(shop)) == (["a"], ["c", "b"])
    current(shop, "c", "a")
    assert (ledger.proven(shop), ledger.withdrawn(shop)) == (["a", "c"], ["b"])


def test_going_back_does_not_make_a_release_younger_but_a_push_does(shop: Site) -> None:
    for release, previous in (("a", None), ("b", "a"), ("c", "b")):
        current(shop, release, previous)
    current(shop, "a", "c", "rollback")
    assert ledger.proven(shop) == ["a", "b"]
    current(shop, "b", "a", "reload")
    assert ledger.proven(shop) == ["a", "b"]
    current(shop, "a", "b")
    assert ledger.proven(shop) == ["b", "a"]


def test_a_restore_withdraws_the_release_that_failed(shop: Site) -> None:
    current(shop, "a", None)
    current(shop, "b", "a")
    current(shop, "a", "b", "restore")
    assert (ledger.proven(shop), ledger.withdrawn(shop)) == (["a"], ["b"])


def test_half_done_is_what_has_no_outcome(shop: Site) -> None:
    intent(shop, "r1", 0, port=8000, release="b", previous="a")
    intent(shop, "r1", 1, port=8001, release="b", previous="a")
    intent(shop, "r1", None, "hook", release="b")
    outcome(shop, "r1", 0, port=8000)
    first, second = ledger.half_done(shop)
    assert (first["run"], first["instance"], first["port"], first["release"]) == ("r1", 1, 8001, "b")
    assert (second["op"], second["since"]) == ("hook", ledger.read(shop)[2]["ts"])


def test_a_later_run_settles_what_an_earlier_left(shop: Site) -> None:
    intent(shop, "r1", 0, port=8000)
    outcome(shop, "r2", 0, port=8500)
    assert ledger.half_done(shop) == [], "the same instance, on its other slot"
    intent(shop, "r3", 0, "stop", port=8000)
    intent(shop, "r4", 0, port=8000)
    outcome(shop, "r4", 0, port=8000)
    assert ledger.half_done(shop) == [], "the same port, by another operation"


def test_a_first_push_that_went_back_leaves_nothing_proven(tmp_path: Path) -> None:
    site = Site("shop", "prod", str(tmp_path))
    ledger.append(site, {"run": "1", "event": "current", "release": "r1", "previous": None, "via": "push"})
    ledger.append(site, {"run": "1", "event": "current", "release": None, "previous": "r1", "via": "restore"})
    assert ledger.proven(site) == []
    assert ledger.withdrawn(site) == ["r1"]
