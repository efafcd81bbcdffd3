"""The lock of the drain records is short; one that is held for ever ends in an error."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from deployer.agent.balancer import drain_records
from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError


def test_a_lock_that_somebody_keeps_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_records, "_LONGEST", 0.2)
    site = Site("shop", "prod", str(tmp_path))
    os.makedirs(site.state)
    fd = os.open(site.state + "/drained.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    with pytest.raises(OpError) as caught, drain_records.editing(site):
        raise AssertionError("nobody may come here")
    assert caught.value.code == "host_busy"
    os.close(fd)
    with drain_records.editing(site) as records:
        records["web1"] = drain_records.record("run", "r", "me", "why")
    assert list(drain_records.read(site)) == ["web1"]
