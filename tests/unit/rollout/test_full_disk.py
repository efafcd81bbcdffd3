"""A disk that is full during a push: old releases go once, and the build is tried again on that host alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from scripted import OLD
from whole import Commands, Hosts

from deployer.remote.errors import AgentError
from deployer.rollout.run.local_runs import LocalRuns


def pruned(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, removed: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """The requests to prune, whose responses say that `removed` went."""
    requests: list[tuple[str, dict[str, Any]]] = []

    def prune(host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        requests.append((host, {key: args[key] for key in ("keep", "protect", "weigh") if key in args}))
        return {"removed": removed, "venvs": [], "failed": {}, "bytes": 1_000_000, "inodes": 9}

    monkeypatch.setattr(hosts, "release_prune", prune)
    return requests


def attempts(hosts: Hosts, host: str) -> int:
    return hosts.calls.count((host, "release.begin"))


@pytest.mark.parametrize("operation", ["release.begin", "release.build"])
def test_old_releases_go_and_the_build_is_tried_again(
    operation: str, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = pruned(commands.hosts, monkeypatch, [Hosts.OLDER])
    commands.hosts.fails(operation, "web1", "no_space")
    end = commands.closing("push", "prod", "--yes")
    assert (end["exit_status"], end["outcome"]) == (0, "succeeded"), end["error"]
    assert requests[0] == ("web1", {"keep": 5, "protect": [end["release"], OLD], "weigh": True})
    assert (attempts(commands.hosts, "web1"), attempts(commands.hosts, "web2")) == (2, 1)


def test_where_nothing_can_go_it_is_refused_at_once(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = pruned(commands.hosts, monkeypatch, [])
    commands.hosts.fails("release.begin", "web1", "no_space")
    end = commands.closing("push", "prod", "--yes")
    assert (end["exit_status"], end["error"]["code"], end["error"]["host"]) == (5, "no_space", "web1")
    assert len(requests) == 1 and attempts(commands.hosts, "web1") == 1
    assert "deploy exec prod -l web1 -- df -h" in end["error"]["hint"]
    assert commands.hosts.harm == [] and set(commands.hosts.busy.values()) == {OLD}


def test_a_disk_that_is_full_again_is_pruned_no_second_time(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = pruned(commands.hosts, monkeypatch, [Hosts.OLDER])
    for _ in range(2):
        commands.hosts.fails("release.begin", "web1", "no_space")
    end = commands.closing("push", "prod", "--yes")
    assert (end["exit_status"], end["error"]["code"]) == (5, "no_space")
    assert len(requests) == 1 and attempts(commands.hosts, "web1") == 2


def test_what_a_host_no_longer_has_is_sent_again_also_after_room_was_made(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned(commands.hosts, monkeypatch, [Hosts.OLDER])
    commands.hosts.fails("release.begin", "web1", "no_space")
    commands.hosts.fails("release.build", "web1", "not_begun")
    assert commands.closing("push", "prod", "--yes")["exit_status"] == 0
    assert attempts(commands.hosts, "web1") == 3


def test_pruning_that_fails_is_the_error(commands: Commands) -> None:
    commands.hosts.fails("release.begin", "web1", "no_space")
    commands.hosts.on("release.prune", "web1", lambda: refuse("host_busy"))
    error = commands.closing("push", "prod", "--yes")["error"]
    assert (error["code"], error["host"]) == ("host_busy", "web1")


def refuse(code: str) -> None:
    raise AgentError(code, "refused by the script")


def test_a_prune_is_in_the_history_and_a_dry_run_is_not(commands: Commands) -> None:
    runs = LocalRuns("shop", "prod")
    commands.hosts.fails("host.survey", "web1", "no_space")
    assert commands.closing("prune", "prod")["exit_status"] != 0
    noted = runs.read()
    assert {entry["command"] for entry in noted if "command" in entry} == {"prune"} and noted[-1]["event"] == "ended"
    assert commands.closing("prune", "prod", "--dry-run")["exit_status"] == 0
    assert runs.read() == noted
