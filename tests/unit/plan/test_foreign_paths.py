"""The warning about files that the app's user may not write."""

from __future__ import annotations

from support.facts import facts, host
from support.topologies import topology

from deployer.plan.shared_folders.owners import remarks


def test_the_warning_says_how_many_whose_and_what_to_type() -> None:
    foreign = {"count": 3, "complete": False, "users": ["997", "998"], "example": "/srv/shop/shared/media"}
    found = remarks(topology(2), facts(host("web1", foreign=foreign), host("web2", foreign=None)))
    assert len(found) == 1
    assert found[0].startswith("web1: at least 3 paths belong to uid 997, 998, so shop cannot write there")
    chown = "chown -Rh --from=997 shop: /srv/shop/shared; chown -Rh --from=998 shop: /srv/shop/shared"
    assert f"deploy exec prod -l web1 -- '{chown}'" in found[0]
