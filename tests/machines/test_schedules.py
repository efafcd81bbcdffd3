"""Schedules on real hosts: systemd's timers and Debian's cron fire them in the right release, and on one host only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.project import Done, Project

from deployer.lab import Lab, LabSpec, up

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(1500)]

# Holds on while a file is there, and leaves its release's folder meanwhile.
TICK = """\
import os, pwd, sys, time
release = os.environ["DEPLOY_RELEASE"]
print("tick", release, os.environ["DEPLOY_SCHEDULE"], os.environ["KEY"], sys.argv[1], flush=True)
print("as", pwd.getpwuid(os.getuid()).pw_name, "in", os.path.basename(os.getcwd()), flush=True)
os.chdir(os.path.dirname(os.environ["HOLD"]))
if os.path.exists(os.environ["HOLD"]):
    print("holds", release, flush=True)
    while os.path.exists(os.environ["HOLD"]):
        time.sleep(0.05)
print("done", release, flush=True)
"""
TICKING: dict[str, Any] = {"command": "python tick.py --for=$WHOM", "cron": "* * * * *", "timeout": "10m"}
SETTINGS: dict[str, Any] = {
    "app": "shop",
    "domains": ["shop.test"],
    "env": {"HOLD": "/srv/shop/shared/hold", "WHOM": "everybody"},
    "secrets": {"KEY": {"env": "TICK_KEY"}},
    "runtime": {"workers": 1},
    "rolling": {"drain_timeout": "1s", "soak": "500ms", "waves": ["100%"], "max_unavailable": "100%"},
    "health": {"within": "15s"},
    "keep": 1,
    "schedules": {"tick": TICKING},
}
NEXT_MINUTE = 120.0  # seconds until one that runs every minute has run, on a busy machine


class Ticking:
    """The app on the hosts of a lab, and what can be seen of its schedule."""

    def __init__(self, lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        monkeypatch.setenv("TICK_KEY", "it's $ecret")
        self.lab = lab
        self.project = Project(folder / "shop", lab.name, "shop", {**SETTINGS, **settings})
        self.project.commit("with a schedule", tick__py=TICK)
        self.project.deploy("setup", within=600)

    def push(self, *args: str, **options: Any) -> Done:
        return self.project.deploy("push", *args, **options)

    def schedules(self) -> dict[str, dict[str, Any]]:
        """`web1:tick` → what `deploy status` says of it."""
        hosts = self.project.deploy("status").last["hosts"]
        return {
            f"{host}:{name}": told
            for host, each in hosts.items()
            for name, told in each.get("schedules", {}).items()
            if told["release"]
        }

    def lines(self, host: str) -> list[str]:
        said = self.project.deploy("logs", "--process", "tick", "-n", "200", "-l", host)
        return [event["line"] for event in said.of("output")]

    def sees(self, host: str, line: str, within: float = NEXT_MINUTE) -> list[str]:
        """All lines, once the one that is waited for is among them."""
        until(f"{line!r} in the log of {host}", lambda: line in self.lines(host), within)
        return self.lines(host)

    def root(self, host: str, script: str) -> str:
        done = self.lab.exec(host, ["sh", "-c", script])
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout.strip()

    def hold(self, host: str) -> None:
        self.root(host, "touch /srv/shop/shared/hold")

    def let_go(self, host: str) -> None:
        self.root(host, "rm /srv/shop/shared/hold")

    def fires_as_the_app(self, host: str, release: str) -> None:
        said = self.sees(host, f"done {release}")
        assert f"tick {release} tick it's $ecret --for=everybody" in said
        assert f"as shop in {release}" in said

    def moves_while_it_runs(self, old: str, new: str) -> None:
        """The schedule goes from one host to the other, where a run is under way."""
        release = self.schedules()[f"{old}:tick"]["release"]
        self.hold(old)
        self.sees(old, f"holds {release}")
        self.project.settings({"schedules": {"tick": {**TICKING, "hosts": new}}})
        done: list[Done] = []
        push = threading.Thread(target=lambda: done.append(self.push(within=600)))
        push.start()
        try:
            gone = ["test", "!", "-e", "/srv/shop/schedules/tick"]
            until("the old host's link is gone", lambda: self.lab.exec(old, gone).returncode == 0, 240)
            assert push.is_alive(), "it did not wait for the run that was under way"
            assert self.lab.exec(new, ["ls", "/srv/shop/schedules/tick"]).returncode != 0, "it would run twice"
        finally:
            self.let_go(old)
            push.join()
        mine = [(e["step"], e["instance"]) for e in done[0].of("step.finished") if ":tick" in (e["instance"] or "")]
        assert mine == [("stop", f"{old}:tick"), ("schedule", f"{new}:tick")]
        assert f"done {release}" in self.root(old, LOGS), "it was not let finish"
        assert list(self.schedules()) == [f"{new}:tick"]
        assert self.root(old, f"ls -d {FILES} 2>/dev/null || true") == ""
        self.sees(new, f"done {done[0].release}")


FILES = "/etc/systemd/system/shop-tick.* /etc/cron.d/shop-tick"
LOGS = "journalctl -o cat -u shop-tick.service --no-pager; cat /var/log/shop-schedules/tick.log 2>/dev/null || true"


def until(what: str, true: Callable[[], bool], within: float) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"waited {within:g} s for {what}"
        time.sleep(0.2)


def test_timers_of_systemd(lab_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = up(LabSpec(name=lab_name, kind="machines", hosts=2), print)
    app = Ticking(lab, tmp_path, monkeypatch)
    first = app.push().release
    assert list(app.schedules()) == ["web1:tick"], "a singleton is on the first host alone"
    app.fires_as_the_app("web1", first)
    assert app.push().last["outcome"] == "unchanged"

    # A run that is under way ends in its release, which stays while it does; the next one begins in the new one.
    app.hold("web1")
    app.sees("web1", f"holds {first}")
    app.project.version("second")
    app.push()
    app.project.version("third")
    third = app.push().release
    kept = app.root("web1", "ls /srv/shop/releases").split()
    assert first in kept and third in kept
    assert app.schedules()["web1:tick"]["release"] == third
    app.let_go("web1")
    app.sees("web1", f"done {first}")
    app.fires_as_the_app("web1", third)
    assert app.schedules()["web1:tick"]["last"]["result"] == "success"

    # A release that goes back never ran it.
    app.project.breaks("health")
    broken = app.push(expect=5)
    app.project.mends()
    assert app.schedules()["web1:tick"]["release"] == third
    assert not [event for event in broken.of("step.started") if event["step"] == "schedule"]

    # What somebody else changed is seen, and mended by a push.
    app.root("web1", "systemctl stop shop-tick.timer")
    assert "inactive" in app.schedules()["web1:tick"]["state"]
    mended = app.push()
    assert mended.last["outcome"] == "succeeded" and mended.release == third
    assert app.schedules()["web1:tick"]["state"] == "scheduled"

    app.project.version("fourth")
    fourth = app.push().release
    assert app.schedules()["web1:tick"]["release"] == fourth
    back = app.project.deploy("rollback").release
    assert back == third and app.schedules()["web1:tick"]["release"] == third

    # Other times count at once.
    due = datetime(2001, 3, 4, 5, 6, tzinfo=UTC)
    app.project.settings({"schedules": {"tick": {**TICKING, "cron": f"{due.minute} {due.hour} * * *"}}})
    app.push()
    planned = datetime.fromtimestamp(app.schedules()["web1:tick"]["next"], UTC)
    assert (planned.hour, planned.minute) == (due.hour, due.minute)
    app.project.settings({"schedules": {"tick": TICKING}})
    app.push()
    app.moves_while_it_runs("web1", "web2")
    app.project.deploy("remove", "--yes")
    for host in ("web1", "web2"):
        left = app.root(host, "systemctl list-units --all --no-legend 'shop-tick*'; ls /etc/systemd/system")
        assert "shop-tick" not in left


def test_cron_where_supervisord_is(lab_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = up(LabSpec(name=lab_name, kind="machines", hosts=2), print)
    app = Ticking(lab, tmp_path, monkeypatch, supervisor="supervisord")
    first = app.push().release
    assert list(app.schedules()) == ["web1:tick"]
    app.fires_as_the_app("web1", first)
    told = app.schedules()["web1:tick"]
    assert told["state"] == "scheduled" and told["last"]["result"] == "success" and told["next"] > time.time() - 60
    app.moves_while_it_runs("web1", "web2")

    # The host's clock is UTC; Kathmandu's is 5:45 before it.
    soon = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=6)
    there = soon.astimezone(ZoneInfo("Asia/Kathmandu"))
    once = {**TICKING, "hosts": "web2", "cron": f"{there.minute} {there.hour} * * *", "timezone": "Asia/Kathmandu"}
    app.project.settings({"schedules": {"tick": once}})
    app.project.version("by another clock")
    last = app.push().release
    assert app.schedules()["web2:tick"]["next"] == soon.timestamp()
    app.sees("web2", f"done {last}", 500)
    assert app.schedules()["web2:tick"]["last"]["began"] - soon.timestamp() < 30
    app.root("web2", "systemctl stop cron")
    assert "cron does not run" in app.schedules()["web2:tick"]["state"]
    app.root("web2", "systemctl start cron")
    app.project.deploy("remove", "--yes")
    assert app.root("web2", f"ls -d {FILES} /srv/shop/.deploy/schedule-* 2>/dev/null || true") == ""
