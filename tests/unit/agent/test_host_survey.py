"""A host is looked over: an empty one, a used one, one that was left in the middle."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import supervised
from supervised import World

from deployer.agent import survey as host
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context
from deployer.agent.site import freeze, lock
from deployer.agent.site import operations as site

UNSEALED, SEALED = "20240101T000000Z-aaaaaaaa", "20240102T000000Z-bbbbbbbb"


@pytest.fixture
def used() -> Iterator[World]:
    with supervised.world() as made:
        yield made


def survey(shop: Site, **more: Any) -> Any:
    request: Any = {"site": shop.to_wire(), **more}
    return host.survey(Context(), request)


def test_a_host_that_never_heard_of_the_app(tmp_path: Path) -> None:
    shop = Site(app="shop", env="prod", root="/nonexistent/srv/shop", prefix=str(tmp_path), user="nobody-of-this-name")
    facts = survey(shop, ports=[supervised.free_port()], tools=["tar", "no-such-tool"], python_versions=["3.11", "9.9"])
    assert facts["exists"] is facts["writable"] is facts["user_exists"] is False
    assert facts["current"] is facts["frozen"] is facts["lock"] is None
    assert facts["releases"] == facts["half_done"] == []
    assert facts["slots"] == {}
    assert list(facts["ports"].values()) == [None]
    assert facts["tools"]["no-such-tool"] is None
    assert os.access(facts["tools"]["tar"], os.X_OK)
    assert facts["pythons"]["9.9"] is None
    assert facts["free_bytes"] > 0
    assert facts["cores"] >= 1
    assert 0 < facts["mem_available"] <= facts["memory"]
    assert facts["init"] == "other"
    assert len(facts["boot_id"]) == 36
    assert facts["python"]["version"].startswith("3.")


def test_a_brief_look_agrees_with_the_whole_one(tmp_path: Path, used: World) -> None:
    shop = Site(app="shop", env="prod", root="/nonexistent/srv/shop", prefix=str(tmp_path), user="")
    for site_ in (shop, used.site):
        brief, whole = survey(site_, brief=True), survey(site_)
        keys = ("user", "exists", "writable", "owner", "frozen", "lock", "adoption")
        assert brief == {key: whole[key] for key in keys}


def test_a_tool_of_the_hosts_own_folder_comes_first(tmp_path: Path) -> None:
    own = tmp_path / "usr/bin/tar"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    shop = Site(app="shop", env="prod", root=str(tmp_path / "srv"), prefix=str(tmp_path))
    assert survey(shop, tools=["tar"])["tools"]["tar"] != str(own), "not executable"
    own.chmod(0o755)
    assert survey(shop, tools=["tar", "../tar"])["tools"] == {"tar": str(own), "../tar": None}


def test_a_host_in_use(used: World) -> None:
    shop, port = used.site, used.instance.port
    used.release(SEALED)
    os.unlink(shop.marker(used.release(UNSEALED)))
    (pid,) = used.switch(SEALED)["pids"]
    site.promote(Context(), {"site": shop.to_wire(), "run": "x", "release": SEALED, "via": "push", "ports": [port]})
    lock.take(Context(), {"site": shop.to_wire(), "run": "x", "who": "me@here"})
    freeze.put(Context(), {"site": shop.to_wire(), "reason": "holidays", "who": "boss@office"})

    began = time.monotonic()
    facts = survey(shop, ports=[port], tools=["git", "uv"])
    took = time.monotonic() - began

    assert took < 1.0
    assert (facts["current"], facts["slots"]) == (SEALED, {str(port): SEALED})
    unsealed, sealed = facts["releases"]
    standing = ("id", "complete", "proven", "content")
    assert tuple(unsealed[key] for key in standing) == (
        UNSEALED,
        False,
        False,
        None,
    )
    assert tuple(sealed[key] for key in standing) == (
        SEALED,
        True,
        True,
        f"c-{SEALED}",
    )
    assert (sealed["commit"], sealed["created"], sealed["venv"], sealed["run_sha"]) == (None, 1, "k", None)
    assert sealed["withdrawn"] is False
    held = facts["ports"][str(port)]
    assert (held["pid"], held["ours"]) == (pid, True)
    assert (facts["lock"]["who"], facts["lock"]["pid"]) == ("me@here", os.getpid())
    assert (facts["frozen"]["who"], facts["frozen"]["reason"]) == ("boss@office", "holidays")
    lock.release(Context(), {"site": shop.to_wire()})
    assert freeze.clear(Context(), {"site": shop.to_wire(), "who": "boss@office"}) == {"cleared": True}
    assert freeze.clear(Context(), {"site": shop.to_wire(), "who": "boss@office"}) == {"cleared": False}
    after = survey(shop)
    assert after["lock"] is after["frozen"] is None


def test_a_stranger_on_a_port_is_not_ours(used: World) -> None:
    stranger = used.listen_as_a_stranger()
    held = survey(used.site, ports=[used.instance.port])["ports"][str(used.instance.port)]
    assert (held["pid"], held["ours"]) == (stranger.pid, False)
    assert "http.server" in held["command"]


def test_the_address_that_others_see_is_the_kernels_choice(tmp_path: Path) -> None:
    shop = Site(app="shop", env="prod", root="/nonexistent", prefix=str(tmp_path))
    told = survey(shop, peers=["127.0.0.1", "localhost", "no-such-host.invalid"])["sources"]
    assert told["127.0.0.1"] == "127.0.0.1" and told["localhost"] in ("127.0.0.1", "::1")
    assert "no-such-host.invalid" not in told


def test_a_site_that_is_full_of_rubbish_is_still_looked_over(used: World) -> None:
    shop = replace(used.site, root=used.home + "/odd")
    Path(shop.releases).mkdir(parents=True)
    Path(shop.releases, "file").write_text("")
    Path(shop.releases, "old").mkdir()
    Path(shop.releases, UNSEALED).mkdir()
    Path(shop.marker(SEALED)).parent.mkdir()
    Path(shop.marker(SEALED)).write_text('{"content": ')
    Path(shop.slots).mkdir()
    Path(shop.slots, "8000").mkdir()
    Path(shop.slots, ".8000.new").symlink_to("../releases/empty")
    Path(shop.state).mkdir()
    Path(shop.ledger).write_bytes(b"\xff\xfe\n[1]\n")
    Path(shop.lock).write_text("rubbish")
    Path(freeze.path(shop)).write_text("{")
    facts = survey(shop)
    assert [(found["id"], found["complete"]) for found in facts["releases"]] == [(UNSEALED, False), (SEALED, False)]
    assert facts["slots"] == {}
    assert facts["lock"] is None
    assert "cannot be read" in facts["frozen"]["reason"], "better too careful"
