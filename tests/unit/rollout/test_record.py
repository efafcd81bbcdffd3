"""How a run ends: outcome, exit status, and the fields that pipelines read."""

from __future__ import annotations

import json

import pytest

from deployer import errors
from deployer.errors import DeployError
from deployer.remote.errors import AgentError, SessionLost
from deployer.rollout.run.outcomes import translate_errors
from deployer.rollout.run.parallel import map_hosts
from deployer.rollout.run.record import Record

FIELDS = ["v", "ts", "run", "event", "outcome", "exit_status", "release", "previous", "duration_s", "hosts", "probe"]


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (errors.SettingsError("no such key", file="deploy.yaml", line=3), "refused", 2),
        (errors.UntrustedHostError("who is this"), "refused", 3),
        (errors.NotReadyError("not set up"), "refused", 3),
        (errors.LockedError("somebody else"), "refused", 4),
        (errors.FrozenError("not today"), "refused", 4),
        (errors.RolloutError("broken"), "rolled_back", 5),
        (errors.NeedsPersonError("look"), "failed", 6),
        (errors.ChecksError("red"), "failed", 7),
        (errors.InterruptedRun("enough"), "interrupted", 130),
        (errors.DeployError("a fault"), "failed", 1),
        (None, "succeeded", 0),
    ],
)
def test_every_end_has_its_outcome_and_exit_status(error: DeployError | None, outcome: str, status: int) -> None:
    record = Record("push", release="R2", previous="R1")
    record.instance("web1", 0, 8000, "R2", "proven")
    finished = json.loads(json.dumps(record.finish(error).as_json()))
    assert list(finished) == [*FIELDS, "error", "serving", "data"]
    assert (finished["event"], finished["outcome"], finished["exit_status"]) == ("run.finished", outcome, status)
    assert (finished["release"], finished["previous"], finished["probe"]) == ("R2", "R1", None)
    assert finished["hosts"]["web1"]["instances"]["0"] == {"port": 8000, "release": "R2", "state": "proven"}
    assert (finished["error"] is None) == (error is None)
    if error is not None:
        assert {"code", "message", "host", "step", "hint"} <= finished["error"].keys()


def test_a_host_that_failed_keeps_what_its_instances_came_to() -> None:
    record = Record("push")
    record.instance("web1", 0, 8000, "R2", "proven")
    record.host("web1", "failed")
    assert record.hosts["web1"] == {
        "outcome": "failed",
        "instances": {"0": {"port": 8000, "release": "R2", "state": "proven"}},
    }


@pytest.mark.parametrize("error", [AgentError("no_space", "the disk is full", log=["df"]), SessionLost("gone")])
def test_what_hosts_refuse_is_told_as_far_as_the_run_had_come(error: DeployError) -> None:
    error.host, error.step = "web1", "ship"
    with pytest.raises(errors.NotReadyError) as caught, translate_errors(errors.NotReadyError, "deploy doctor prod"):
        raise error
    told = caught.value
    assert (told.code, told.host, told.step, told.log) == (error.code, "web1", "ship", error.log)
    assert told.hint == "deploy doctor prod"


def test_a_fault_of_the_agent_stays_a_fault_of_the_program() -> None:
    with pytest.raises(AgentError) as caught, translate_errors(errors.NotReadyError):
        raise AgentError("internal", "KeyError: 'site'")
    assert caught.value.exit_status == 1


def test_all_hosts_are_waited_for_when_one_fails() -> None:
    def work(host: str) -> str:
        if host == "web2":
            raise DeployError("no")
        return host.upper()

    done, failed = map_hosts(["web1", "web2", "web3"], work)
    assert done == {"web1": "WEB1", "web3": "WEB3"} and list(failed) == ["web2"]
    assert map_hosts([], work) == ({}, {})
