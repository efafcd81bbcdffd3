"""What counts as proven in another environment, and what is demanded of the tree that is to be the same."""

from __future__ import annotations

import pytest
from support.facts import facts, host, release
from support.topologies import topology

from deployer.agent.model.messages.releases import Marker
from deployer.errors import NotReadyError, UsageError
from deployer.plan.draft import ReleaseCandidate
from deployer.rollout.delivery.promotion import current, proven_release

OLD, NOW = "20240101T000000Z-aaaaaaaa", "20240201T000000Z-bbbbbbbb"
MARKER: Marker = {"files": "f1", "requirements": ["uvicorn==0.30\n"], "commit": "0123456789abcdef"}


def test_what_all_hosts_have_and_every_instance_serves() -> None:
    assert current(topology(2), facts(*(host(f"web{n}", [OLD, NOW], current=NOW) for n in (1, 2)))) == NOW


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (host("web2", [OLD, NOW]), "its current release is not"),
        (host("web2", [OLD, release(NOW, proven=False)], current=NOW), "was never proven"),
        (host("web2", [OLD, NOW], current=NOW, unproven={0: "health check: 500"}), "health check: 500"),
        (host("web2", [OLD, NOW], current=NOW, serving=[None]), "does not serve"),
    ],
)
def test_what_is_not_proven_everywhere_goes_nowhere(second: object, why: str) -> None:
    found = facts(host("web1", [OLD, NOW], current=NOW), host("web3", [OLD, NOW], current=NOW), second)  # type: ignore[arg-type]
    with pytest.raises(NotReadyError) as refused:
        current(topology(3), found)
    assert why in str(refused.value) and refused.value.host == "web2" and refused.value.exit_status == 3


@pytest.mark.parametrize(
    ("first", "second", "where", "why"),
    [
        ((OLD, NOW), (OLD, OLD), "web1", f"web1:0 serves {NOW}, web2:0 serves {OLD}"),
        ((NOW, NOW), (NOW, OLD), "web2", f"web2:0 serves {OLD}, web1:0 serves {NOW}"),
        ((NOW, NOW), (OLD, OLD), "web2", f"web2:0 serves {OLD}, web1:0 serves {NOW}"),
        ((OLD, NOW), (OLD, NOW), "web1", f"only {NOW} serves, but {OLD} is current on web1, web2"),
        ((NOW, NOW), (OLD, NOW), "web2", f"only {NOW} serves, but {OLD} is current on web2"),
    ],
)
def test_where_they_only_differ_it_says_who_has_what(
    first: tuple[str, str], second: tuple[str, str], where: str, why: str
) -> None:
    both = {"web1": first, "web2": second}
    found = [host(name, [OLD, NOW], current=now, serving=[served]) for name, (now, served) in both.items()]
    with pytest.raises(NotReadyError, match="prod is half way between releases") as refused:
        current(topology(2), facts(*found))
    assert (refused.value.host, refused.value.cause, refused.value.exit_status) == (where, why, 3)
    assert "deploy push prod or deploy rollback prod makes all serve one release" in str(refused.value.hint)


def test_hosts_that_differ_are_told_to_a_new_size_too() -> None:
    found = facts(host("web1", [OLD, NOW], current=NOW), host("web2", [OLD, NOW], current=OLD))
    with pytest.raises(NotReadyError, match="half way between releases"):
        current(topology(2, instances=2), found, all_serve=False)


def test_nothing_was_ever_pushed_there() -> None:
    with pytest.raises(NotReadyError, match="nothing was ever pushed"):
        current(topology(1), facts(host("web1")))


def test_a_new_size_asks_for_no_instance_that_is_not_there_yet() -> None:
    found = facts(host("web1", [OLD, NOW], current=NOW))
    assert current(topology(1, instances=2), found, all_serve=False) == NOW
    with pytest.raises(NotReadyError, match="instance 1 does not serve"):
        current(topology(1, instances=2), found)


def test_a_tree_of_other_content_is_refused_and_says_why() -> None:
    proven = proven_release("staging", NOW, MARKER)
    proven.require_same("f1")
    with pytest.raises(UsageError, match="differs from what commit 0123456789ab makes here") as refused:
        proven.require_same("f2")
    assert refused.value.exit_status == 2 and "build hook" in str(refused.value.cause)


def test_a_release_that_tells_too_little_of_itself_is_refused() -> None:
    with pytest.raises(NotReadyError, match="earlier deploy"):
        proven_release("staging", NOW, {"commit": "0123456789abcdef"})


def test_the_same_content_counts_only_where_it_came_from_there() -> None:
    """The same files with other versions of what they need are another release."""
    origin = {"env": "staging", "release": OLD}
    own = facts(host("web1", [release(NOW, content="c", start_sha=""), release(OLD, content="d")], current=NOW))
    came = facts(host("web1", [release(NOW, content="c", start_sha="", origin=origin)], current=NOW))

    class Anyhow:
        sha = ""

    starts = {"web1": Anyhow()}
    draft = ReleaseCandidate("c", starts, origin=origin)  # type: ignore[arg-type]
    assert draft.find_release(own) is None and draft.find_release(came) == NOW
    assert ReleaseCandidate("c", starts).find_release(own) == NOW  # type: ignore[arg-type]
