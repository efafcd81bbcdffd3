"""`deploy releases`: what it says of a release that only some hosts have, or that was never finished."""

from __future__ import annotations

import pytest
from support.facts import facts, host, release
from support.topologies import topology

from deployer.rollout.queries.releases import releases_of

JANUARY, JUNE = "20240101T000000Z-aaaaaaaa", "20240601T000000Z-bbbbbbbb"


@pytest.mark.parametrize(
    "elsewhere, text",
    [
        ([], "never proven, incomplete, on web1"),
        ([release(JANUARY, complete=True)], "only on web2, incomplete, on web1"),
        ([release(JANUARY, complete=False)], "never proven, incomplete, on web1, web2"),
    ],
)
def test_an_unfinished_release_is_said_to_be_where_it_lies(elsewhere: list[dict[str, object]], text: str) -> None:
    half = release(JANUARY, complete=False, proven=False)
    for other in elsewhere:
        other["proven"] = bool(other["complete"])
    known = facts(host("web1", [half, release(JUNE)]), host("web2", [*elsewhere, release(JUNE)]))
    entry = releases_of(topology(2), known).releases[0]
    assert entry.text.endswith(text) and entry.text.count("only on") == text.count("only on")
