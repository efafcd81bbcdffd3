"""Records of what is held out belong to where a server is, whatever a changed pool calls it."""

from __future__ import annotations

from typing import Any

from deployer.agent.balancer import drain_records
from deployer.agent.balancer.driver import Server


def pool(**places: str) -> dict[str, Server]:
    """Servers by name (`_` for `.`), each ready, or as the word behind its place says."""
    made = {}
    for name, text in places.items():
        at, _, admin = text.partition(" ")
        made[name.replace("_", ".")] = Server(name, at, 8000, admin or "ready", "UP", "L7OK", 0)
    return made


def follow(records: dict[str, Any], **places: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: dict(each) for name, each in records.items()}
    drain_records.follow(found, pool(**places))
    return {name: (each["by"], each.get("at")) for name, each in found.items()}


HELD = {"web1": {"by": "person", "at": "192.0.2.1:8000"}}


def test_a_record_stays_where_its_server_is() -> None:
    assert follow(HELD, web1="192.0.2.1", web2="192.0.2.2") == {"web1": ("person", "192.0.2.1:8000")}


def test_a_record_goes_to_the_name_that_its_place_has_now() -> None:
    assert follow(HELD, web1="192.0.2.9", web1_2="192.0.2.1") == {"web1.2": ("person", "192.0.2.1:8000")}


def test_names_that_are_swapped_swap_their_records() -> None:
    records = {**HELD, "web2": {"by": "quarantine", "at": "192.0.2.2:8000"}}
    swapped = {"web2": ("person", "192.0.2.1:8000"), "web1": ("quarantine", "192.0.2.2:8000")}
    assert follow(records, web1="192.0.2.2", web2="192.0.2.1") == swapped


def test_a_place_that_no_server_has_any_more_is_forgotten() -> None:
    assert follow(HELD, web1="192.0.2.9") == {}


def test_a_slot_that_is_still_not_in_use_is_so_at_its_other_place() -> None:
    spare = {"web1": {"by": "spare", "at": "192.0.2.1:8000"}}
    assert follow(spare, web1="192.0.2.9 maint") == {"web1": ("spare", "192.0.2.9:8000")}
    assert follow(spare, web1="192.0.2.9") == {}, "it serves"


def test_a_record_of_an_earlier_version_stays_with_its_name() -> None:
    assert follow({"web1": {"by": "person"}}, web1="192.0.2.9") == {"web1": ("person", None)}
