"""Release ids: one parser. What else lies in `releases/` is somebody else's, and neither listed, chosen nor removed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from release_site import Host

from deployer.agent import survey as host
from deployer.agent.model.layout import MARKER
from deployer.agent.model.messages.host import ReleaseFolder
from deployer.agent.model.release_id import created_at, is_release_id, list_releases, new_release_id
from deployer.agent.operation import Context
from deployer.agent.site import ledger

JANUARY, JUNE = "20240101T000000Z-aaaaaaaa", "20240601T000000Z-bbbbbbbb"
FOREIGN = (
    *("old", "v2", "zzz", "~", "current", "lost+found", ".hidden", "20240101000000", "é" * 100),
    *(f"{JANUARY}.bak", f"{JANUARY} ", f"{JANUARY}\n", f"x{JANUARY}", JANUARY[:-1], JANUARY.upper()),
    *("20241301T000000Z-aaaaaaaa", "20240230T000000Z-aaaaaaaa", "99999999T999999Z-aaaaaaaa"),
    *("99991231T235959Z-aaaaaaaa", "00000101T000000Z-aaaaaaaa", "20240101T000000Z-backup00"),
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path).set_up()
    yield made
    os.system(f"chmod -R u+w {tmp_path}")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_name_is_no_release_id(name: str) -> None:
    assert not is_release_id(name) and created_at(name) is None


@pytest.mark.parametrize("name", FOREIGN)
def test_a_new_id_ignores_foreign_names(name: str) -> None:
    began = time.monotonic()
    assert new_release_id("c0ffee11beef", [name, JANUARY], now=0) == "20240101T000001Z-c0ffee11"
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("newest", ["99981231T235959Z-ffffffff", "20991231T235959Z-ffffffff", JUNE])
def test_a_new_id_sorts_after_every_release(newest: str) -> None:
    made = new_release_id("00000000", [JANUARY, newest, *FOREIGN], now=0)
    assert made > newest and made[8:9] == "T"


def test_an_id_of_the_same_second_sorts_by_its_hash_or_takes_the_next_second() -> None:
    now = created_at(JUNE)
    assert now is not None
    assert new_release_id("cccccccc", [JUNE], now=now + 0.9) == "20240601T000000Z-cccccccc"
    assert new_release_id("aaaaaaaa", [JUNE], now=now + 0.9) == "20240601T000001Z-aaaaaaaa"


def _foreign_entries(made: Host) -> set[str]:
    """Folders, a complete copy of a release, a file, links, and an id that is not a folder."""
    releases = Path(made.site.releases)
    for name in ("old", "v2", JANUARY + ".bak", "99999999T999999Z-aaaaaaaa"):
        (releases / name).mkdir()
        (releases / name / MARKER).write_text("{}")
    (releases / "notes.txt").write_text("of a person")
    (releases / "latest").symlink_to(JANUARY)
    (releases / "20230101T000000Z-aaaaaaaa").symlink_to(JANUARY)
    (releases / "20230102T000000Z-aaaaaaaa").write_text("a file")
    (releases / "gone").symlink_to("nowhere")
    return {entry.name for entry in releases.iterdir()} - {JANUARY, JUNE}


def _survey(made: Host) -> dict[str, ReleaseFolder]:
    found = host.survey(Context(), {"site": made.site.to_wire()})
    return {release["id"]: release for release in found["releases"]}


def test_foreign_entries_are_not_listed_not_pruned_and_survive_removal(site: Host) -> None:
    site.push(JANUARY)
    foreign = _foreign_entries(site)
    built = site.push(JUNE)
    assert built["built"] and built["reused"] > 0
    assert list_releases(site.site) == [JANUARY, JUNE] == list(_survey(site))
    ledger.append(site.site, {"event": "current", "release": JUNE, "run": "r", "via": "push"})
    ledger.append(site.site, {"event": "current", "release": "old", "run": "r", "via": "push"})
    assert site.call("release.prune", keep=1, protect=[])["removed"] == [JANUARY]
    site.call("belongings.remove", run="x", who="me")
    assert {entry.name for entry in Path(site.site.releases).iterdir()} == foreign


@pytest.mark.parametrize("marker", ["", "[]", '{"created": "then"}', '{"processes": 5}', '{"content": {}}', "\xff"])
def test_an_incomplete_release_is_reported_as_such_and_pruned(site: Host, marker: str) -> None:
    site.push(JANUARY)
    broken = Path(site.site.release(JUNE))
    (broken / "half").mkdir(parents=True)
    (broken / MARKER).write_text(marker, encoding="latin-1")
    assert {name: one["complete"] for name, one in _survey(site).items()} == {JANUARY: True, JUNE: False}
    ledger.append(site.site, {"event": "current", "release": JANUARY, "run": "r", "via": "push"})
    assert site.push("20240701T000000Z-cccccccc")["built"]
    assert site.call("release.prune", keep=1, protect=["20240701T000000Z-cccccccc"])["removed"] == [JUNE]


def test_a_marker_that_is_a_folder_counts_as_missing(site: Host) -> None:
    (Path(site.site.release(JUNE)) / MARKER).mkdir(parents=True)
    assert not _survey(site)[JUNE]["complete"]
    assert site.push("20240701T000000Z-cccccccc")["built"]


def test_a_real_marker_is_sound(site: Host) -> None:
    site.push(JANUARY, meta={"content": "c", "created": 1.5, "commit": None, "origin": None, "processes": ["worker"]})
    text = json.loads(Path(site.site.marker(JANUARY)).read_text())
    assert _survey(site)[JANUARY]["complete"] and text["processes"] == ["worker"]
