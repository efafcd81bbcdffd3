"""A site belongs to one app in one environment, for good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.agent.model.layout import Site
from deployer.agent.model.messages.lock import TakeLock
from deployer.agent.operation import Context, OpError
from deployer.agent.site import lock, ownership


def take(site: Site) -> None:
    request: TakeLock = {"site": site.to_wire(), "run": "run-1", "who": "me@here"}
    lock.take(Context(), request)
    lock.release(Context(), request)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site("shop", "prod", str(tmp_path / "srv/shop"), str(tmp_path))


def test_the_first_to_lock_it_owns_it(site: Site) -> None:
    assert ownership.owner(site) is None
    take(site)
    assert ownership.owner(site) == {"app": "shop", "env": "prod"}
    take(site)


@pytest.mark.parametrize("other", [{"app": "evil"}, {"env": "staging"}])
def test_nobody_else_gets_it(site: Site, other: dict[str, str]) -> None:
    take(site)
    with pytest.raises(OpError) as refused:
        take(replace(site, **other))
    assert refused.value.code == "not_ours" and "belongs to the app shop in prod" in refused.value.message
    assert "root:" in refused.value.hint


def test_a_torn_note_is_nobodys(site: Site) -> None:
    take(site)
    Path(site.state, "site.json").write_text('{"app": "sh')
    assert ownership.owner(site) is None
    take(site)
    assert ownership.owner(site) == {"app": "shop", "env": "prod"}
