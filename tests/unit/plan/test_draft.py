"""Which release a push uses: one that the hosts have, or a new id that sorts after all others."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.facts import facts, host, release
from support.topologies import topology

from deployer.agent.model.release_id import new_release_id
from deployer.plan.changes import prevailing_release, wanted_by_push
from deployer.plan.draft import PLACEHOLDER, LaunchFiles, ReleaseCandidate, content_of
from deployer.plan.model import VenvRepair
from deployer.plan.repairs import venv_repairs
from deployer.settings.models import Settings

HERE, THERE = LaunchFiles("run here"), LaunchFiles("run there")
JANUARY, JUNE = "20240101T000000Z-aaaaaaaa", "20240601T000000Z-bbbbbbbb"


def made_of(id: str, start: LaunchFiles = HERE, content: str = "code", **other: object) -> dict[str, object]:
    return release(id, content=content, start_sha=start.sha, **other)


def draft(**starts: LaunchFiles) -> ReleaseCandidate:
    return ReleaseCandidate("code", starts)


def test_the_newest_of_the_same_releases_is_used_again() -> None:
    found = facts(host("web1", [made_of(JANUARY), made_of(JUNE)]), host("web2", [made_of(JANUARY)]))
    assert draft(web1=HERE, web2=HERE).find_release(found) == JUNE


def test_other_content_is_another_release() -> None:
    assert draft(web1=HERE).find_release(facts(host("web1", [made_of(JUNE, content="other code")]))) is None


def test_a_half_built_folder_does_not_count() -> None:
    assert draft(web1=HERE).find_release(facts(host("web1", [made_of(JUNE, complete=False)]))) is None


def test_a_release_that_one_host_would_start_otherwise_is_used_on_none() -> None:
    found = facts(host("web1", [made_of(JUNE), made_of(JANUARY)]), host("web2", [made_of(JUNE, HERE)]))
    assert draft(web1=HERE, web2=THERE).find_release(found) == JANUARY


def test_every_host_may_start_it_in_its_own_way() -> None:
    found = facts(host("web1", [made_of(JUNE, HERE)]), host("web2", [made_of(JUNE, THERE)]))
    assert draft(web1=HERE, web2=THERE).find_release(found) == JUNE


def test_a_release_whose_virtualenv_a_host_cannot_build_again_is_used_on_none() -> None:
    lost = made_of(JUNE, damage="its folder is missing", repairable=False)
    found = facts(host("web1", [made_of(JUNE), made_of(JANUARY)]), host("web2", [lost, made_of(JANUARY)]))
    assert draft(web1=HERE, web2=HERE).find_release(found) == JANUARY
    repairable = facts(host("web1", [made_of(JUNE)]), host("web2", [{**lost, "repairable": True}]))
    assert draft(web1=HERE, web2=HERE).find_release(repairable) == JUNE


def test_damaged_virtualenvs_of_the_release_and_of_what_serves_are_rebuilt() -> None:
    damaged: dict[str, Any] = {"damage": "its marker is missing", "repairable": True}
    there = [made_of(JUNE, **damaged), made_of(JANUARY, **damaged)]
    found = facts(host("web1", [made_of(JUNE), made_of(JANUARY)]), host("web2", there, serving=[JANUARY]))
    assert venv_repairs(JUNE, topology(2), found) == (
        VenvRepair("web2", JUNE, "its marker is missing"),
        VenvRepair("web2", JANUARY, "its marker is missing"),
    )
    assert venv_repairs("20250101T000000Z-cccccccc", topology(1), found) == ()


def test_an_upgrade_is_a_new_release_of_the_same_code() -> None:
    found = facts(host("web1", [made_of(JUNE)]))
    assert wanted_by_push(draft(web1=HERE), topology(1), found) == (JUNE, ())
    release_id, builds = wanted_by_push(draft(web1=HERE), topology(1), found, anew=True)
    assert release_id > JUNE and builds == ("web1",)


def test_only_hosts_that_lack_the_release_build_it() -> None:
    shape = topology(3)
    found = facts(host("web1", [made_of(JUNE)]), host("web2"), host("web3", [made_of(JUNE, complete=False)]))
    assert wanted_by_push(draft(web1=HERE, web2=HERE, web3=HERE), shape, found) == (JUNE, ("web2", "web3"))


def test_a_new_release_is_built_everywhere_under_an_id_that_sorts_last() -> None:
    ahead = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 3600)) + "-ffffffff"
    found = facts(host("web1", [JANUARY]), host("web2", [release(ahead)]))
    chosen, builds = wanted_by_push(draft(web1=HERE, web2=HERE), topology(2), found)
    assert chosen > ahead and builds == ("web1", "web2")


def test_an_id_tells_time_and_content() -> None:
    assert new_release_id("c0ffee11beef", [], now=0) == "19700101T000000Z-c0ffee11"


@pytest.mark.parametrize(
    "newest", ["20240601T000000Z-00000000", "20240601T000000Z-ffffffff", "20990101T000000Z-ffffffff"]
)
def test_ids_sort_by_age_even_when_the_clock_went_back(newest: str) -> None:
    may = 1714521600.0
    began = time.monotonic()
    made = new_release_id("7777777777", [JANUARY, newest], now=may)
    assert made > newest
    assert time.monotonic() - began < 0.5, "it counted there second by second"


def test_the_placeholder_gives_way_to_the_release_in_script_and_files() -> None:
    start = LaunchFiles(f"export DEPLOY_RELEASE={PLACEHOLDER}", {"conf.py": f"name = '{PLACEHOLDER}'"})
    assert start.for_release("R1") == ("export DEPLOY_RELEASE=R1", {"conf.py": "name = 'R1'"})
    assert start.sha != LaunchFiles(start.run).sha


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"env": {"LEVEL": "debug"}}, False),
        ({"shared": ["media"]}, False),
        ({"hooks": {"prepare": "make"}}, False),
        ({"python": {"extras": ["pg"]}}, False),
        ({"runtime": {"server": "gunicorn"}}, False),
        ({"static": {"url": "/static/", "dir": "static"}}, False),
        ({"keep": 9, "rolling": {"soak": 1}, "domains": ["other.example.com"]}, True),
        ({"hooks": {"release": "migrate"}}, True),
    ],
)
def test_settings_that_are_built_in_make_another_release(change: dict[str, object], same: bool) -> None:
    plain = content_of("files", Settings(app="shop"), ("/", None))
    other = content_of("files", Settings.model_validate({"app": "shop", **change}), ("/", None))
    assert (plain == other) is same
    assert plain != content_of("other files", Settings(app="shop"), ("/", None))
    assert plain != content_of("files", Settings(app="shop"), ("/healthz", 200))


@pytest.mark.parametrize(
    ("currents", "expected"),
    [
        ([JUNE, JANUARY, JANUARY], JANUARY),
        ([JANUARY, JUNE], JUNE),
        ([None, JANUARY, None], JANUARY),
        ([None, None], None),
    ],
)
def test_the_majority_rules_and_the_newest_where_they_are_even(
    currents: list[str | None], expected: str | None
) -> None:
    hosts = [host(f"web{number}", current=current) for number, current in enumerate(currents, 1)]
    assert prevailing_release(facts(*hosts), topology(len(hosts))) == expected


def test_an_unfinished_folder_of_the_future_does_not_shift_new_ids() -> None:
    shop, future = topology(), "29990101T000000Z-dddddddd"
    unfinished = made_of(future, content="other", complete=False)
    known = facts(*(host(web.name, [made_of(JUNE, content="older"), unfinished]) for web in shop.web))
    made, _ = wanted_by_push(draft(web1=HERE, web2=HERE), shop, known)
    assert JUNE < made < future


@pytest.mark.parametrize(
    "known", [{"serving": ["29990101T000000Z-dddddddd"]}, {"current": "29990101T000000Z-dddddddd"}]
)
def test_a_new_id_sorts_after_what_serves_though_its_marker_is_lost(known: dict[str, object]) -> None:
    shop, future = topology(), "29990101T000000Z-dddddddd"
    lost = made_of(future, content="other", complete=False)
    hosts = facts(*(host(web.name, [lost], **known) for web in shop.web))  # type: ignore[arg-type]
    made, _ = wanted_by_push(draft(web1=HERE, web2=HERE), shop, hosts)
    assert made > future
