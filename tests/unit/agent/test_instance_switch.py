"""An instance changes to another release, or comes back, on a real supervisord with really served releases."""

from __future__ import annotations

import os
import shlex
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import supervised
from supervised import World

from deployer.agent.instance import operations as instance
from deployer.agent.instance import switch
from deployer.agent.instance.wait import wait_until_proven
from deployer.agent.model.messages.instances import StopInstance
from deployer.agent.model.messages.site import LedgerLine
from deployer.agent.model.resources import File, to_wire
from deployer.agent.model.supervision import Health
from deployer.agent.operation import Context, OpError
from deployer.agent.provisioning import operations as resource
from deployer.agent.provisioning.snapshot import UNITS
from deployer.agent.site import ledger, secrets
from deployer.agent.system import procfs


@pytest.fixture
def host() -> Iterator[World]:
    with supervised.world() as made:
        yield made


def served(host: World) -> str:
    """What a user gets."""
    with urllib.request.urlopen(f"http://127.0.0.1:{host.instance.port}/", timeout=5) as answer:
        return str(answer.read().decode())


def failing(host: World, release: str, previous: str | None, **context: Any) -> OpError:
    with pytest.raises(OpError) as caught:
        host.switch(release, previous, **context)
    return caught.value


def test_the_first_release_is_started_and_the_next_one_takes_its_place(host: World) -> None:
    first = host.switch(host.release("r1"))
    assert first["changed"] is True
    assert served(host) == "r1"
    assert os.path.exists(host.home + "/enabled")
    host.release("r2")
    os.unlink(host.home + "/enabled")

    second = host.switch("r2", "r1")
    assert os.path.exists(host.home + "/enabled")

    assert second["changed"] is True
    assert served(host) == "r2"
    assert host.slot == "../releases/r2"
    assert set(second["pids"]).isdisjoint(first["pids"])
    assert host.proof("r2")["proven"] is True
    states = [entry.get("state", entry.get("ok")) for entry in ledger.read(host.site)]
    assert states == ["stop", "link", "start", True] * 2
    assert ledger.half_done(host.site) == []


def test_what_goes_back_has_the_secrets_that_it_had(host: World) -> None:
    with_secrets = ". ../../.deploy/secrets.env; export KEY; exec .venv/bin/python app.py"
    code = supervised.GOOD.replace("200", '200 if os.environ["KEY"] == "good" else 500')

    def write(value: str, **more: Any) -> None:
        request: Any = {"site": host.site.to_wire(), **more}
        secrets.write(Context(body=iter([f"export KEY='{value}'\n".encode()])), request)

    write("good")
    host.switch(host.release("r1", code, with_secrets))
    write("bad", keep=True)
    host.tune(within=3.0)
    error = failing(host, host.release("r2", code, with_secrets), "r1")
    assert (error.code, error.detail) == ("unhealthy", {"restored": True, "serving": "r1"})
    assert secrets.values(host.site) == {"KEY": "good"}
    assert served(host) == "r1"


@pytest.mark.parametrize(
    ("wanted", "check"),
    [
        ("self.headers['X-Forwarded-Proto'] == 'https'", Health(headers={"X-Forwarded-Proto": "https"}, status=200)),
        ("self.headers['X-Forwarded-Proto'] == 'https'", Health(https=True, status=200)),
        ("self.headers['Host'] == 'a.example.com'", Health(host="a.example.com", status=200)),
        ("self.path == '/up'", Health(path="/up", status=200)),
    ],
)
def test_what_goes_back_is_checked_as_it_was_built_to_be(host: World, wanted: str, check: Health) -> None:
    """The new release has another health check, and the old one answers 301 to that."""
    code = supervised.GOOD.replace("200", f"200 if {wanted} else 301")
    host.switch(host.release("r1", code, health=check))
    error = failing(host, host.release("r2", supervised.BROKEN, health=host.instance.health), "r1")
    assert (error.code, error.detail) == ("did_not_start", {"restored": True, "serving": "r1"})
    assert host.proof("r1")["proven"] is True


def test_what_goes_back_has_the_time_that_it_was_built_to_have(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    wait = wait_until_proven

    def noted(*args: Any, **more: Any) -> Any:
        given.append(args[5])
        return wait(*args, **more)

    monkeypatch.setattr(switch, "wait_until_proven", noted)
    host.switch(host.release("r1", health=replace(host.instance.health, within=300.0)))
    host.tune(within=2.0)
    failing(host, host.release("r2", supervised.BROKEN), "r1")
    assert given == [300.0, 2.0, 300.0]


def test_a_release_that_was_killed_points_at_memory(host: World) -> None:
    last_words = "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?"
    killed = f"import os\nprint({last_words!r}, flush=True)\nos.kill(os.getpid(), 9)\n"
    assert "out of memory" in failing(host, host.release("r1", killed), None).hint


def test_what_goes_back_has_the_units_that_it_had(host: World) -> None:
    """Here a file of the host decides whether anything serves, as a unit with too little memory would."""
    limit = host.home + "/etc/limit"
    code = supervised.GOOD.replace("200", f'200 if open("{limit}").read() == "good" else 500')

    def write(value: str, **more: Any) -> None:
        request: Any = {"site": host.site.to_wire(), "handlers": {}, "resources": [to_wire(File(limit, value))], **more}
        resource.apply(Context(), request)

    write("good")
    host.switch(host.release("r1", code))
    run = str(host.args("r2", "r1", "push")["run"])
    write("bad", keep=run)
    host.tune(within=3.0)
    error = failing(host, host.release("r2", code), "r1")
    assert error.detail == {"restored": True, "serving": "r1"}
    with open(limit, encoding="utf-8") as file:
        assert file.read() == "good" and served(host) == "r1"
    assert resource.put_back(Context(), host.site, run, UNITS) == [], "and the run's own way back finds it done"


def test_a_second_switch_to_the_same_release_touches_nothing(host: World) -> None:
    first = host.switch(host.release("r1"))
    lines = ledger.read(host.site)

    again = host.switch("r1", "r1", lease_left=lambda: 0.0)  # nothing destructive, so no lease is needed

    assert (again["changed"], again["pids"]) == (False, first["pids"])
    assert ledger.read(host.site) == lines


def test_a_reload_restarts_the_same_release(host: World) -> None:
    first = host.switch(host.release("r1"))
    again = host.switch("r1", "r1", via="reload")
    assert again["changed"] is True
    assert set(again["pids"]).isdisjoint(first["pids"])
    assert served(host) == "r1"


@pytest.mark.parametrize(
    ("code", "expected", "why"),
    [
        (supervised.BROKEN, "did_not_start", "a_module_that_nobody_wrote"),
        (supervised.DIES_LATER, "did_not_start", "out of luck"),
    ],
)
def test_a_release_that_dies_is_undone_at_once_and_the_old_one_serves(
    host: World, code: str, expected: str, why: str
) -> None:
    host.tune(within=60.0)
    host.switch(host.release("r1"))
    host.release("r2", code)

    began = time.monotonic()
    error = failing(host, "r2", "r1")

    assert time.monotonic() - began < 40, "it waited although nothing could come any more"
    assert error.code == expected
    assert error.detail == {"restored": True, "serving": "r1"}
    assert why in "\n".join(error.log)
    assert "serving r1" not in error.log, "lines from before this start"
    assert served(host) == "r1"
    assert host.slot == "../releases/r1"
    assert ledger.half_done(host.site) == []
    assert ledger.read(host.site)[-1]["ok"] is False


def test_a_release_that_answers_500_is_undone(host: World) -> None:
    host.tune(within=2.0)
    host.switch(host.release("r1"))
    host.release("r2", supervised.SICK)
    error = failing(host, "r2", "r1")
    assert error.code == "unhealthy"
    assert "answered 500, wanted 200" in error.message
    assert error.detail["restored"] is True
    assert served(host) == "r1"


def test_a_release_that_hangs_in_its_start_is_undone_when_its_time_is_up(host: World) -> None:
    host.tune(within=2.0)
    host.switch(host.release("r1"))
    host.release("r2", supervised.HANGS)
    error = failing(host, "r2", "r1")
    assert error.code == "did_not_start"
    assert "nothing listens" in error.message
    assert error.log == ["waiting for a database"]
    assert served(host) == "r1"


def test_the_first_release_of_a_slot_fails_and_leaves_the_slot_empty(host: World) -> None:
    error = failing(host, host.release("r1", supervised.BROKEN), None)
    assert error.code == "did_not_start"
    assert error.detail == {"restored": True, "serving": None}
    assert host.slot is None
    assert not os.path.exists(host.home + "/enabled")
    assert host.proof()["why"] == f"slot {host.instance.port} is not in use"


def test_both_releases_are_broken_and_it_says_so(host: World) -> None:
    host.release("r1", supervised.BROKEN)
    host.release("r2", supervised.BROKEN)
    error = failing(host, "r2", "r1")
    assert error.detail["restored"] is False
    assert error.detail["serving"] is None
    assert "r1" in error.detail["undo"]
    assert host.slot == "../releases/r1"


def test_a_stranger_on_the_port_is_named_and_nothing_is_touched(host: World) -> None:
    stranger = host.listen_as_a_stranger()
    error = failing(host, host.release("r1"), None)
    assert error.code == "port_taken"
    assert f"process {stranger.pid} (" in error.message
    assert "user " in error.message
    assert error.detail == {"restored": True, "serving": None}
    assert (host.slot, ledger.read(host.site)) == (None, [])
    assert stranger.poll() is None


def test_a_release_that_was_never_sealed_is_refused(host: World) -> None:
    host.switch(host.release("r1"))
    os.unlink(host.site.marker(host.release("r2")))
    assert failing(host, "r2", "r1").code == "incomplete"
    assert failing(host, "../../etc", "r1").code == "incomplete"
    assert served(host) == "r1"


def test_without_a_lease_nothing_is_stopped(host: World) -> None:
    host.switch(host.release("r1"))
    host.release("r2")
    error = failing(host, "r2", "r1", lease_left=lambda: 0.0)
    assert error.code == "lease_lost"
    assert error.detail == {"restored": True, "serving": "r1"}
    assert served(host) == "r1"
    assert ledger.half_done(host.site) == []


def test_the_controller_is_lost_in_the_middle_and_the_switch_goes_on(host: World) -> None:
    host.switch(host.release("r1"))
    host.release("r2")
    lease = iter([5.0])
    assert host.switch("r2", "r1", lease_left=lambda: next(lease, 0.0))["changed"] is True
    assert served(host) == "r2"


def test_a_full_disk_in_the_middle_brings_the_old_release_back(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host.switch(host.release("r1"))
    host.release("r2")
    real = ledger.append

    def full(site: Any, entry: LedgerLine) -> LedgerLine:
        if entry.get("state") == "stop":
            return real(site, entry)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger, "append", full)
    error = failing(host, "r2", "r1")
    assert error.code == "did_not_start"
    assert "No space left" in error.message
    assert error.detail == {"restored": True, "serving": "r1"}
    assert served(host) == "r1"
    assert [left["release"] for left in ledger.half_done(host.site)] == ["r2"], "its outcome could not be written"


def test_a_cancelled_switch_goes_back(host: World) -> None:
    host.tune(within=60.0)
    host.switch(host.release("r1"))
    host.release("r2", supervised.HANGS)
    cancelled = threading.Event()
    told: list[str] = []

    def emit(event: dict[str, object]) -> None:
        told.append(str(event.get("message")))
        if told[-1].startswith("starting"):
            threading.Timer(1.0, cancelled.set).start()

    error = failing(host, "r2", "r1", emit=emit, cancelled=cancelled)

    assert error.code == "cancelled"
    assert error.detail == {"restored": True, "serving": "r1"}
    assert served(host) == "r1"


def test_an_old_process_that_keeps_the_port_is_reported_and_not_killed(host: World) -> None:
    host.switch(host.release("r1", supervised.ORPHANS))
    orphan = host.kill_the_master()
    host.tune(graceful=-13.0)  # a bound of 2 s for the stop
    error = failing(host, host.release("r2"), "r1")
    assert error.code == "did_not_stop"
    assert f"process {orphan} (" in error.message
    assert f"kill {orphan}" in error.hint
    assert error.detail["restored"] is False
    assert host.slot == "../releases/r1", "moved although the old release still has the port"
    os.kill(orphan, 0)


def test_a_stopped_instance_leaves_an_empty_slot(host: World) -> None:
    host.switch(host.release("r1"))
    args: StopInstance = {"site": host.site.to_wire(), "run": "r1", "instance": host.instance.to_wire()}
    assert instance.stop(Context(), args) == {"stopped": True}
    assert host.slot is None
    assert not os.path.exists(host.home + "/enabled")
    assert procfs.listeners([host.instance.port]) == []
    assert instance.stop(Context(), args) == {"stopped": False}
    assert ledger.half_done(host.site) == []


def test_a_request_that_comes_as_the_port_is_opened_starts_the_release_itself(host: World) -> None:
    """A balancer's check or a user, who does not wait until deploy starts it: as old as the port is old enough."""
    start = " ".join(map(shlex.quote, host.instance.verbs.start))
    opens = ("sh", "-c", f"{start} && sleep 0.1 && touch {host.home}/port")
    state = ("sh", "-c", f"test ! -e {host.home}/port || echo active enabled")
    verbs = replace(host.instance.verbs, socket="shop.socket", socket_state=state, socket_open=opens)
    host.tune(socket=True, verbs=verbs)
    assert host.switch(host.release("r1"))["changed"] is True
    assert served(host) == "r1"
