"""A port that somebody else has is named as a person would look for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.facts import bare_host, facts
from support.topologies import topology

from deployer.errors import NotReadyError
from deployer.rollout.steps.survey import require_free_ports


def refused(**holder: Any) -> NotReadyError:
    taken = {"8000": {"pid": 812, "command": "gunicorn main:app", "ours": False, **holder}}
    found = facts(bare_host("web1", ports=taken))
    with pytest.raises(NotReadyError) as error:
        require_free_ports(SimpleNamespace(topology=topology(1, 0)), found)  # type: ignore[arg-type]
    return error.value


def test_a_unit_by_its_name_and_how_to_live_beside_it() -> None:
    error = refused(unit="shop.service")
    assert error.message == "port 8000 is taken by shop.service: gunicorn main:app (pid 812)"
    assert "docs/adopting.md" in str(error.hint) and error.exit_status == 3


def test_a_process_of_no_unit() -> None:
    error = refused(unit="")
    assert error.message == "port 8000 is taken by gunicorn main:app (pid 812)"
    assert str(error.hint).startswith("stop it, or choose another")
