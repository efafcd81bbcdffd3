"""Foreign frontends are led to our pool: what was allowed, and nothing after it was changed; a crash heals."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError
from deployer.agent.takeover import operations as adopting
from deployer.agent.takeover import record as adoption_record

BEFORE = "frontend www\n    bind :80\n    default_backend old\nbackend old\n    server a 192.0.2.1:8000 check\n"
AFTER = BEFORE.replace("default_backend old", "default_backend shop-prod")
REFUSES = "grep -q shop-prod haproxy.cfg && echo no such backend && exit 1; true"
PLACES = {"192.0.2.1:8000": "web1"}


class Host:
    """A balancer host with a configuration of somebody else's, and a handler that notes what it was called for."""

    def __init__(self, folder: Path) -> None:
        self.site = Site("shop", "prod", str(folder / "srv/shop"), str(folder))
        Path(self.site.state).mkdir(parents=True)
        Path(self.site.host_state).mkdir(parents=True)
        self.file, self.log = folder / "haproxy.cfg", folder / "reloads"
        self.file.write_text(BEFORE)
        self.file.chmod(0o640)

    def call(self, verb: str, **args: Any) -> Any:
        operation: Any = {"front": adopting.look, "record": adopting.record, "move": adopting.move}[verb]
        return operation(Context(), {"site": self.site.to_wire(), "run": "r1", "who": "me", **args})

    def allow(self) -> None:
        asked = {"path": str(self.file), "places": PLACES, "backend": "shop-prod"}
        answer = self.call("front", **asked)
        assert answer["why"] == ""
        self.call("record", front={**asked, "diff": answer["diff"], "backends": answer["backends"]})

    def move(self, then: str = "true") -> Any:
        return self.call("move", handler=[["sh", "-c", f"cd {self.file.parent}; cat {self.file} > {self.log}; {then}"]])

    @property
    def state(self) -> str:
        adoption = adoption_record.read(self.site)
        assert adoption is not None and adoption["front"] is not None
        return adoption["front"]["state"]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_is_led_once_and_what_was_there_is_kept(host: Host) -> None:
    host.allow()
    assert host.file.read_text() == BEFORE and host.state == "recorded", "allowing changes nothing"
    assert host.move() == {"changed": True}
    assert host.file.read_text() == host.log.read_text() == AFTER and host.state == "moved"
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o640
    assert Path(host.site.front_before).read_text() == BEFORE
    host.log.unlink()
    assert host.move() == {"changed": False} and not host.log.exists()


def test_nothing_is_touched_that_nobody_allowed(host: Host) -> None:
    assert host.move() == {"changed": False}
    assert host.file.read_text() == BEFORE


def test_a_file_that_was_changed_since_its_diff_was_shown_is_left_alone(host: Host) -> None:
    host.allow()
    host.file.write_text(BEFORE.replace("default_backend", "use_backend old if TRUE\n    default_backend"))
    mine = host.file.read_text()
    with pytest.raises(OpError) as caught:
        host.move()
    assert caught.value.code == "changed" and host.file.read_text() == mine and not host.log.exists()


def test_what_the_balancer_does_not_take_is_put_back(host: Host) -> None:
    host.allow()
    with pytest.raises(OpError) as caught:
        host.move(REFUSES)
    assert caught.value.code == "invalid" and "no such backend" in " ".join(caught.value.log)
    assert host.file.read_text() == BEFORE and host.state == "recorded"
    assert host.log.read_text() == BEFORE, (
        "what was there before is loaded again, should the reload only have been slow"
    )
    assert host.move() == {"changed": True}, "mended, it goes on"


def test_a_balancer_that_takes_neither_is_said_to_be_unsettled(host: Host) -> None:
    host.allow()
    with pytest.raises(OpError) as caught:
        host.move("exit 1")
    assert caught.value.code == "unsettled" and host.state == "moving" and host.file.read_text() == BEFORE
    assert host.move() == {"changed": True}, "the next push goes on"


@pytest.mark.parametrize("written", [False, True], ids=["before the file", "before the reload"])
@pytest.mark.parametrize("good", [True, False])
def test_a_crash_in_the_middle_heals(host: Host, written: bool, good: bool) -> None:
    host.allow()
    Path(host.site.front_before).write_text(BEFORE)
    noted = json.loads(Path(host.site.adoption).read_text())
    noted["front"]["state"] = "moving"
    Path(host.site.adoption).write_text(json.dumps(noted))
    if written:
        host.file.write_text(AFTER)
    if good:
        assert host.move() == {"changed": True}
        assert host.log.read_text() == host.file.read_text() == AFTER and host.state == "moved"
    else:
        with pytest.raises(OpError):
            host.move(REFUSES)
        assert host.file.read_text() == BEFORE and host.state == "recorded"


def test_where_there_is_no_such_balancer_a_person_is_told_what_to_say(host: Host) -> None:
    asked = {"path": str(host.file) + ".none", "places": PLACES, "backend": "shop-prod"}
    assert "`balancer.kind`" in host.call("front", **asked)["why"]
