"""The state that HAProxy's next process reads: it belongs to where a server is, whatever its name."""

from __future__ import annotations

from deployer.agent.balancer.haproxy.reload_tool import carried_over

COLUMNS = "srv_id srv_name srv_addr srv_op_state srv_admin_state srv_check_status srv_check_result srv_check_health "
COLUMNS += "srv_fqdn srv_port"


def state(*rows: str) -> str:
    return "\n".join(["1", "# " + COLUMNS, *rows]) + "\n"


def carried(before: str, *servers: str) -> dict[str, tuple[str, str, str]]:
    """Name → address, operational state, administrative state in what the next process reads."""
    lines = carried_over(before, "backend shop from deploy\n" + "".join(f"    server {each}\n" for each in servers))
    columns = COLUMNS.split()
    rows = [dict(zip(columns, line.split(" "), strict=True)) for line in lines.splitlines()[2:]]
    return {row["srv_name"]: (row["srv_addr"], row["srv_op_state"], row["srv_admin_state"]) for row in rows}


UP = "{id} {name} {at} 2 0 6 3 1 - 8000"
ONE = UP.format(id=1, name="web1-8000", at="192.0.2.1")
TWO = UP.format(id=2, name="web2-8000", at="192.0.2.2")
DRAINED = ONE.replace(" 2 0 ", " 2 8 ")


def test_a_new_name_at_a_new_place_waits() -> None:
    found = carried(
        state(ONE, TWO), "web1-8000 192.0.2.1:8000", "web2-8000 192.0.2.2:8000", "web1-8000.2 [fd00::1]:8000"
    )
    assert found["web1-8000"][1:] == ("2", "0") and found["web1-8000.2"] == ("fd00::1", "0", "1")


def test_a_known_name_at_a_new_place_waits_too() -> None:
    found = carried(state(ONE, TWO), "web1-8000 [fd00::1]:8000", "web2-8000 192.0.2.2:8000")
    assert found == {"web1-8000": ("fd00::1", "0", "1"), "web2-8000": ("192.0.2.2", "2", "0")}


def test_a_known_place_with_another_name_is_what_it_was() -> None:
    there = UP.format(id=3, name="web1-8000.2", at="fd00::1")
    found = carried(state(DRAINED, TWO, there), "web1-8000 [fd00::1]:8000", "web2-8000 192.0.2.2:8000")
    assert found["web1-8000"] == ("fd00::1", "2", "0")


def test_a_server_that_is_a_name_stays_with_its_own() -> None:
    found = carried(state(DRAINED, TWO), "web1-8000 web1.internal:8000", "web2-8000 192.0.2.2:8000")
    assert found["web1-8000"] == ("192.0.2.1", "2", "8"), "only HAProxy knows what it stands for"


def test_where_all_places_are_new_none_waits() -> None:
    before = state(ONE, TWO)
    assert carried_over(before, "    server web1-8000 [fd00::1]:8000\n    server web2-8000 [fd00::2]:8000\n") == before
