"""A plan in a file is carried out as it is, or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.facts import facts, host, release
from support.topologies import topology

from deployer.errors import UsageError
from deployer.plan.changes import make_plan, wanted_by_push
from deployer.plan.draft import DesiredRelease, LaunchFiles, ReleaseCandidate
from deployer.plan.facts import Facts
from deployer.plan.model import Plan, ProcessStep
from deployer.plan.topology import Topology
from deployer.rollout.delivery.plan_file import Options, PlanFile, holding, read

OLD, PLANNED = "20240101T000000Z-aaaaaaaa", "20240201T000000Z-bbbbbbbb"


def draft(files: str = "f1", run: str = "exec serve") -> ReleaseCandidate:
    return ReleaseCandidate(
        "content", {name: LaunchFiles(run) for name in ("web1", "web2")}, "0123456789ab", "HEAD", files
    )


def fleet(current: str = OLD, **other: Any) -> Facts:
    return facts(*(host(name, [release(OLD, content="before")], current=current, **other) for name in ("web1", "web2")))


def planned(shape: Topology, found: Facts, made: ReleaseCandidate, id: str | None = PLANNED) -> Plan:
    wanted, builds = wanted_by_push(made, shape, found, id)
    return make_plan(DesiredRelease("push", wanted, builds), shape, found)


def written(path: Path, shape: Topology | None = None) -> PlanFile:
    shape = shape or topology(2)
    holds = holding(shape, fleet(), draft())
    plan = planned(shape, fleet(), draft())
    options = Options("staging", "web*", {"waves": [1]})
    PlanFile("shop", "prod", "me@here", 1_700_000_000.0, "0123456789ab", options, holds, plan.as_dict()).write(path)
    return read(path)


def test_it_says_all_that_it_was_asked_for_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    found = written(tmp_path / "plan.json")
    assert (found.app, found.env, found.release, found.commit) == ("shop", "prod", PLANNED, "0123456789ab")
    assert found.options == Options("staging", "web*", {"waves": [1]})
    assert stat.S_IMODE((tmp_path / "plan.json").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "plan.json").read_text())["v"] == 1


def test_what_is_as_it_was_is_carried_out_with_the_id_that_was_planned(tmp_path: Path) -> None:
    shape, found = topology(2), written(tmp_path / "plan.json")
    plan = planned(shape, fleet(), draft(), found.release)
    found.require_still(holding(shape, fleet(), draft()), plan)
    assert plan.release == PLANNED


@pytest.mark.parametrize(
    ("named", "shape", "seen", "made"),
    [
        ("the hosts", topology(3), None, None),
        ("the settings", topology(2, env={"LOG_LEVEL": "debug"}), None, None),
        ("the releases on the hosts", None, fleet(frozen=None, slots={"8000": PLANNED}), None),
        ("the releases on the hosts", None, fleet(unproven={0: "health check: 500"}), None),
        ("the source", None, None, draft(files="f2")),
        ("the source", None, None, draft(run="exec serve --workers 3")),
    ],
)
def test_what_changed_is_named_and_nothing_is_done(
    tmp_path: Path, named: str, shape: Topology | None, seen: Facts | None, made: ReleaseCandidate | None
) -> None:
    found = written(tmp_path / "plan.json")
    holds = holding(shape or topology(2), _all(seen or fleet(), shape), made or draft())
    with pytest.raises(UsageError, match="changed since the plan of 2023-11-14 22:13:20 UTC by me@here") as refused:
        found.require_still(holds, planned(topology(2), fleet(), draft()))
    assert named in refused.value.message and refused.value.exit_status == 2


def test_other_work_from_the_same_parts_is_named_too(tmp_path: Path) -> None:
    found, shape = written(tmp_path / "plan.json"), topology(2)
    plan = replace(planned(shape, fleet(), draft()), secrets_changed=("web1",))
    with pytest.raises(UsageError, match="what has to be done changed"):
        found.require_still(holding(shape, fleet(), draft()), plan)


def test_a_probe_beside_the_push_is_no_other_plan() -> None:
    probed = topology(2, rolling={"probe": {"url": "http://shop.example.com/"}})
    assert holding(probed, fleet(), draft()) == holding(topology(2), fleet(), draft())


_PLAN = (
    '{"v": 1, "app": "shop", "env": "prod", "by": "me", "made": 1, "commit": null, "from": null, "limit": %s, '
    '"rolling": %s, "holds": {}, "plan": {"release": "old"}}'
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *(("", "not a plan"), ("[]", "not a JSON object"), ("[" * 20_000, "recursion"), ('{"v": 1}', "it has no app")),
        *(('{"v": 2}', "version 2"), ("\xff", "decode"), (_PLAN % ('"web1"', "[]"), "rolling has the wrong type")),
        *((_PLAN % ("5", "{}"), "limit has the wrong type"), (_PLAN % ("null", "{}"), "not a release id")),
        (_PLAN.replace('"made": 1', '"made": true') % ("null", "{}"), "made has the wrong type"),
    ],
)
def test_a_file_that_is_no_plan_says_so(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "plan.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=why):
        read(tmp_path / "plan.json")
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.json")


def _all(found: Facts, shape: Topology | None) -> Facts:
    """The same facts for every host of a larger fleet."""
    more = {web.name: replace(found["web1"], name=web.name) for web in (shape or topology(2)).web}
    return Facts(more)


def test_so_are_other_processes(tmp_path: Path) -> None:
    found, shape = written(tmp_path / "plan.json"), topology(2)
    plan = replace(planned(shape, fleet(), draft()), processes=(ProcessStep("web1", "worker", 1, "start", None),))
    with pytest.raises(UsageError, match="what has to be done changed"):
        found.require_still(holding(shape, fleet(), draft()), plan)


def test_every_process_writes_the_hosts_alike() -> None:
    """A set's order is another in each process, unless it is told."""
    script = (
        "from support.topologies import topology\n"
        "from test_planfile import draft, fleet, holding\n"
        "from dataclasses import replace\n"
        "made = topology(2)\n"
        "web = tuple(replace(w, host=replace(w.host, groups=frozenset({'all', 'web', 'eu'}))) for w in made.web)\n"
        "print(holding(replace(made, web=web), fleet(), draft())['the hosts'])\n"
    )
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), str(folder.parents[1]), str(folder.parents[2])])
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123456"
    }
    assert len(said) == 1, said
