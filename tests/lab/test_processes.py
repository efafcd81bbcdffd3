"""Processes beside the instances: moved first, stopped gently, back when the run goes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import Done, Project

from deployer.lab import Lab

WORKER = """\
import os, signal, sys, time
print("begins", os.environ["DEPLOY_RELEASE"], os.environ["DEPLOY_PROCESS"], os.environ["DEPLOY_INSTANCE"], flush=True)
wanted = True
def no_more(*_):
    global wanted
    wanted = False
signal.signal(signal.SIGTERM, no_more)
while wanted:
    time.sleep(0.05)
time.sleep(1)  # the job in hand
print("finished", os.environ["DEPLOY_RELEASE"], flush=True)
"""
BROKEN = "import time\ntime.sleep(0.5)\nraise SystemExit('no queue is there')\n"
DIES_LATER = "import time\ntime.sleep(9)\nraise SystemExit('out of luck')\n"
SETTINGS = {
    "app": "queue",
    "domains": ["queue.test"],
    "port": 8060,
    "health": {"within": "20s"},
    "runtime": {"workers": 1},
    "rolling": {"drain_timeout": "1s", "soak": "100ms", "waves": ["100%"], "max_unavailable": "100%"},
}
PROCESSES = {
    "worker": {"command": "python worker.py --queue=$QUEUE", "count": 2, "stop_timeout": "20s"},
    "beat": {"command": "python worker.py", "singleton": True},
}


@pytest.fixture(scope="module")
def queue(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The example app with two workers a host and one beat."""
    project = Project(tmp_path_factory.mktemp("queue") / "queue", lab.name, "shop", SETTINGS)
    project.settings({"processes": PROCESSES, "env": {"QUEUE": "eggs and flour"}})
    project.commit("with processes", worker__py=WORKER)
    project.deploy("setup")
    project.deploy("push")
    yield project
    project.settings({"processes": {}})
    project.deploy("push")


def test_a_push_moves_them_before_the_instances_and_lets_them_finish(queue: Project) -> None:
    first = running(queue)
    assert sorted(first) == sorted(
        ["web1:beat@1", *(f"web{host}:worker@{number}" for host in (1, 2, 3) for number in (1, 2))]
    )
    assert queue.deploy("push").last["outcome"] == "unchanged"
    queue.version("with the same processes")
    pushed = queue.deploy("push")
    order = [event["step"] for event in pushed.of("step.finished") if event["step"] in ("process", "switch")]
    assert order == ["process"] * 7 + ["switch"] * 3
    assert set(running(queue).values()) == {pushed.release}
    said = logged(queue, "worker@1")
    assert "finished " + first["web1:beat@1"] in said, said
    assert f"begins {pushed.release} worker 1" in said
    (told,) = {
        event["line"] for event in queue.deploy("exec", "pgrep -fc -- '--queue=eggs an[d]'", "-l", "web1").of("output")
    }
    assert int(told) == 6, "all hosts of this lab share one process table: two workers each"


@pytest.mark.more
def test_one_that_does_not_start_or_dies_soon_takes_the_push_back(queue: Project) -> None:
    before = queue.deploy("status").release
    queue.commit("a broken worker", worker__py=BROKEN)
    refused = queue.deploy("push", expect=5)
    assert "no queue is there" in " ".join(refused.error["log"]), refused.error
    assert not [event for event in refused.of("step.started") if event["step"] in ("drain", "switch")]
    assert set(running(queue).values()) == {before}
    queue.commit("a worker that dies later", worker__py=DIES_LATER)
    queue.settings({"rolling": {**SETTINGS["rolling"], "soak": "10s"}})  # type: ignore[dict-item]
    died = queue.deploy("push", expect=5)
    assert died.error["code"] == "died" and "out of luck" in " ".join(died.error["log"]), died.error
    assert queue.deploy("status").release == before
    assert set(running(queue).values()) == {before}
    queue.settings({"rolling": SETTINGS["rolling"]})
    queue.commit("mended", worker__py=WORKER)


@pytest.mark.more
def test_reload_rollback_and_what_the_settings_no_longer_have(queue: Project) -> None:
    queue.version("to go back to")
    queue.deploy("push")
    queue.settings({"processes": {"worker": {**PROCESSES["worker"], "count": 1}, "beat": PROCESSES["beat"]}})
    queue.version("with fewer workers")
    pushed = queue.deploy("push")
    assert "web2:worker@2" not in running(queue), "the second worker is no longer there"
    stopped = [event["instance"] for event in pushed.of("step.finished") if event["step"] == "stop"]
    assert sorted(stopped) == ["web1:worker@2", "web2:worker@2", "web3:worker@2"]
    begun = logged(queue, "worker@1").count("begins")
    queue.deploy("reload")
    assert logged(queue, "worker@1").count("begins") == begun + 1
    back = queue.deploy("rollback")
    assert back.release != pushed.release and set(running(queue).values()) == {back.release}


@pytest.mark.more
def test_a_singleton_leaves_its_host_before_it_starts_elsewhere(queue: Project) -> None:
    queue.settings({"processes": {"beat": {**PROCESSES["beat"], "hosts": "web3"}}})
    moved = queue.deploy("push")
    mine = [
        (event["step"], event["instance"])
        for event in moved.of("step.finished")
        if ":beat" in (event["instance"] or "")
    ]
    assert mine == [("stop", "web1:beat@1"), ("process", "web3:beat@1")]
    assert [name for name in running(queue) if "beat" in name] == ["web3:beat@1"]


@pytest.mark.more
def test_mistakes_are_found_before_anything_is_changed(queue: Project, tmp_path: Path) -> None:
    queue.settings({"processes": {"worker": {"command": "python worker.py && true"}}})
    refused = queue.deploy("push", expect=2)
    assert "needs a shell" in refused.error["message"] and refused.error["line"]
    queue.settings({"processes": {"worker": {"command": "python worker.py", "hosts": "nowhere"}}})
    assert "processes.worker.hosts" in queue.deploy("push", expect=2).error["message"]


@pytest.mark.more
@pytest.mark.timeout(900)
def test_one_that_cannot_be_brought_back_is_for_a_person(queue: Project, tmp_path: Path) -> None:
    """Its old release does not start any more when the instances' failure takes it back."""
    queue.settings({"processes": {"worker": {"command": "python worker.py", "singleton": True}}})
    gone = tmp_path / "queue-is-gone"
    queue.commit("one that needs a queue", worker__py=f"import os\nassert not os.path.exists({str(gone)!r})\n{WORKER}")
    good = queue.deploy("push").release
    queue.commit("one that needs none", worker__py=WORKER)
    queue.breaks("health")
    gone.touch()
    done = queue.deploy("push", expect=6)
    assert "web1:worker@1 could not be brought back" in done.error["message"] and done.error["host"] == "web1"
    assert "deploy logs" in done.error["hint"] and "deploy push" in done.error["hint"]
    gone.unlink()
    queue.mends()
    healed = queue.deploy("push").release
    assert healed != good and running(queue) == {"web1:worker@1": healed}


def running(project: Project) -> dict[str, str]:
    """`web1:worker@1` → its release, for all that `deploy status` finds running."""
    status: Done = project.deploy("status")
    return {
        f"{host}:{label}": found["release"]
        for host, each in status.last["hosts"].items()
        for label, found in each.get("processes", {}).items()
        if found["state"] == "runs"
    }


def logged(project: Project, label: str) -> str:
    """What a process of web1 printed so far."""
    deadline = time.monotonic() + 30
    while True:
        said = "\n".join(
            event["line"]
            for event in project.deploy("logs", "--process", label.partition("@")[0], "-l", "web1").of("output")
        )
        if said or time.monotonic() > deadline:
            return said
