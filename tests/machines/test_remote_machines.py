"""What only a real host shows: sudo as it is, and a login session that ends with everything in it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.agents import host_of, until, with_rehearsal

from deployer.errors import NotReadyError
from deployer.lab import Lab, LabSpec, up
from deployer.remote.session import Session
from deployer.remote.ssh.dialer import Dialer

pytestmark = pytest.mark.machines


@pytest.fixture(autouse=True)
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends the operations of rehearsal.py along with the agent."""
    with_rehearsal(monkeypatch)


def password(lab: Lab) -> str:
    return (Path(lab.folder) / "plain.password").read_text().strip()


def test_root_where_sudo_asks_nothing(lab: Lab, dialer: Dialer) -> None:
    with Session.open(host_of(lab, "deploy"), dialer=dialer) as agent:
        assert agent.info["uid"] == 0
    with Session.open(host_of(lab, "deploy", become=False), dialer=dialer) as agent:
        assert agent.info["uid"] != 0


def test_without_a_password_nobody_is_asked_and_the_hint_says_what_to_do(lab: Lab, dialer: Dialer) -> None:
    with Session.open(host_of(lab, "plain"), dialer=dialer) as agent:
        assert agent.info["uid"] != 0
    with pytest.raises(NotReadyError) as caught:
        Session.open(host_of(lab, "plain", become=True), dialer=dialer)
    assert caught.value.code == "sudo"
    assert "-K" in (caught.value.hint or "")


def test_the_password_makes_root_and_is_in_no_process(lab: Lab, dialer: Dialer) -> None:
    secret = password(lab)
    with Session.open(host_of(lab, "plain", become=True), dialer=dialer, sudo_password=secret) as agent:
        assert agent.info["uid"] == 0
        found = agent.call("command.run", {"command": ["python3", "-c", _SEARCH]})
        numbers = json.loads(found["stdout"])
        assert numbers["processes"] > 5
        assert not any(secret in text for text in numbers["texts"])


_SEARCH = """
import glob, json
texts = []
for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
    try:
        texts.append(open(path, errors="replace").read())
    except OSError:
        pass
print(json.dumps({"processes": len(glob.glob("/proc/[0-9]*")), "texts": texts}))
"""


def test_a_wrong_password_is_told_and_asked_once(lab: Lab, dialer: Dialer) -> None:
    began = time.monotonic()
    with pytest.raises(NotReadyError) as caught:
        Session.open(host_of(lab, "plain", become=True), dialer=dialer, sudo_password="not it")
    assert "rejected the password" in caught.value.message
    assert time.monotonic() - began < 20


def test_a_password_that_sudo_does_not_ask_for_harms_nothing(lab: Lab, dialer: Dialer) -> None:
    with Session.open(host_of(lab, "deploy", become=True), dialer=dialer, sudo_password="unused") as agent:
        assert agent.info["uid"] == 0
        assert agent.call("rehearsal.echo", {"a": 1}) == {"a": 1}


def test_winding_up_survives_the_end_of_the_login_session(lab_name: str, dialer: Dialer) -> None:
    lab = up(LabSpec(name=lab_name, kind="machines", hosts=1, kill_user_processes=True), print)
    notes = "/root/notes"
    agent = Session.open(host_of(lab, "root"), dialer=dialer)
    told = agent.call("rehearsal.escape", {"notes": notes, "seconds": 5})
    assert "session-" in told["before"]
    assert told["escaped"] and "/deploy-agent-" in told["after"]
    agent.kill()
    read = ["sh", "-c", f"cat {notes} 2>/dev/null || true"]
    until(lambda: "survived" in lab.exec("web1", read).stdout, within=30)
    assert "session-" not in lab.exec("web1", ["loginctl", "list-sessions", "--no-legend"]).stdout
    units = lab.exec("web1", ["systemctl", "list-units", "--all", "--no-legend", "deploy-agent-*"]).stdout
    assert units.strip() == ""
