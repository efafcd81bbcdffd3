"""The canary is judged by real balancers' figures, under real traffic: what is worse goes back, what is not stays.

`make more`: a soak that tells 5 % takes its time. A short one is in `test_strategies.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.judged import RATE, SETTINGS, goes_back, judged, pushed
from support.labs import fresh_name
from support.project import Project

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.lab, pytest.mark.more]
DOMAIN = "judged.test"


@pytest.fixture(scope="module", params=["haproxy", "nginx", "caddy"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Lab]]:
    """The example app on three hosts behind each balancer."""
    name = fresh_name()
    try:
        lab = up(LabSpec(name=name, kind="processes", hosts=3, balancer=request.param), print)
        settings = {**SETTINGS, "app": "judged", "domains": [DOMAIN], "port": 8040}
        project = Project(tmp_path_factory.mktemp("judged") / "shop", lab.name, "shop", settings)
        project.deploy("setup")
        project.deploy("push")
        yield project, lab
    finally:
        down(name, print)


def test_a_release_that_fails_five_of_a_hundred_goes_back(place: tuple[Project, Lab], tmp_path: Path) -> None:
    shop, lab = place
    before = shop.deploy("status").release
    shop.breaks("errors 5")
    done, seen = pushed(shop, lab, tmp_path / "log", DOMAIN, expect=5)
    goes_back(done, seen, before, "of its requests fail")
    verdict = judged(done)
    new, old = next(iter(verdict["new"].values())), verdict["old"]
    assert verdict["compared"] == "meanwhile" and old["failed"] == 0
    assert new["requests"] + old["requests"] == pytest.approx(8 * RATE, rel=0.3), "the balancer saw what users did"
    assert 0 < seen.failed == seen.causes.get("status", seen.failed)
    assert seen.failed <= 0.05 * seen.releases[done.release] + 1, "nobody lost more than the canary's share"
    shop.mends()


@pytest.mark.parametrize("way", [(), ("--strategy", "bluegreen")], ids=["in-place", "blue-green"])
def test_a_release_that_is_slow_goes_back(place: tuple[Project, Lab], tmp_path: Path, way: tuple[str, ...]) -> None:
    shop, lab = place
    before = shop.deploy("status").release
    shop.breaks("crawls 0.3")
    done, seen = pushed(shop, lab, tmp_path / "log", DOMAIN, *way, expect=5)
    goes_back(done, seen, before, "half of its answers take up to")
    assert seen.failed == 0
    shop.mends()


def test_what_failed_before_too_is_no_reason(place: tuple[Project, Lab], tmp_path: Path) -> None:
    """An app of which 2 of 100 answers are errors is pushed, and its next release, which is like it, too."""
    shop, lab = place
    shop.breaks("errors 2")
    shop.deploy("push")  # without traffic nothing is told
    shop.version("like the one before")
    done, seen = pushed(shop, lab, tmp_path / "log", DOMAIN, expect=0)
    assert seen.failed > 5
    first, second, last = done.of("wave.judged")
    assert first["ok"] and second["ok"] and last["ok"]
    assert first["enough"] and first["old"]["failed"] > 0 and first["compared"] == "meanwhile"
    assert last["enough"] and last["compared"] == "before", "nobody serves the old release meanwhile"
    shop.mends()
    shop.deploy("push")


def test_all_at_once_is_measured_against_before(place: tuple[Project, Lab], tmp_path: Path) -> None:
    """Blue/green in one wave: nobody serves the old release any more while the new one is watched."""
    shop, lab = place
    before = shop.deploy("status").release
    shop.breaks("errors 20")
    done, seen = pushed(shop, lab, tmp_path / "log", DOMAIN, "--strategy", "bluegreen", "--waves", "3", expect=5)
    verdict = judged(done)
    assert done.error["code"] == "worse" and verdict["compared"] == "before" and len(verdict["new"]) == 3
    assert verdict["old"]["requests"] >= 50
    assert set(seen.releases) == {before, done.release}
    shop.mends()
