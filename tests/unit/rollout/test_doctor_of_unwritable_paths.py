"""doctor says what a push could not write, before one tries."""

from __future__ import annotations

from whole import Commands


def test_what_a_push_could_not_write_is_a_finding_with_its_host_and_path(commands: Commands) -> None:
    why = "it is on a read-only file system"
    commands.hosts.unwritable["web2"] = [
        {"path": "/srv/shop/releases", "why": why},
        {"path": "/srv/shop/venvs", "why": why},
    ]
    end = commands.closing("doctor", "prod")
    (finding,) = [each for each in end["data"]["findings"] if not each["ok"]]
    assert (finding["check"], finding["host"], finding["code"]) == ("writable", "web2", "not_writable")
    assert finding["message"] == f"/srv/shop/releases cannot be written: {why}"
    assert finding["cause"] == f"nor /srv/shop/venvs on web2: {why}"
    assert "deploy exec prod -l web2 -- findmnt -T /srv/shop/releases" in finding["hint"]
    assert end["exit_status"] == 3


def test_where_all_can_be_written_nothing_is_said(commands: Commands) -> None:
    end = commands.closing("doctor", "prod")
    assert end["exit_status"] == 0 and {"writable"} <= {each["check"] for each in end["data"]["findings"]}
