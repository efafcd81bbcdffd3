"""supervisord and nothing before it: gunicorn's workers are replaced under their master, so users notice nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.project import Done, Project
from support.traffic import traffic

from deployer.lab import LabSpec, up

SETTINGS = {
    "app": "inplace",
    "port": 8090,
    "health": {"within": "60s", "timeout": "20s"},
    "runtime": {"workers": 8, "graceful_timeout": "5s"},
    "rolling": {"soak": "500ms"},
}


def chosen(done: Done) -> tuple[str, str]:
    plan = done.of("plan.made")[0]["plan"]
    return plan["strategy"], plan["strategy_why"]


@pytest.mark.more
@pytest.mark.timeout(900)
def test_a_push_a_reload_and_a_rollback_lose_nothing_without_a_balancer(lab_name: str, tmp_path: Path) -> None:
    lab = up(LabSpec(name=lab_name, kind="processes", hosts=1, balancer="none"), print)
    notes = Project(tmp_path / "notes", lab.name, "notes", SETTINGS)
    notes.deploy("setup")
    first = notes.deploy("push")
    assert chosen(first)[0] == "restart", "nothing serves yet"
    host = lab.hosts["web1"]["host"]
    with traffic(f"{host}:8090", tmp_path / "log", mix="http", rate=10, limit=60.0) as users:
        notes.version(2)
        second = notes.deploy("push")
        reloaded = notes.deploy("reload")
        notes.breaks("import")
        broken = notes.deploy("push", expect=5)
        back = notes.deploy("rollback")
    assert [chosen(done)[0] for done in (second, reloaded, broken, back)] == ["reload"] * 4
    assert (reloaded.release, back.release) == (second.release, first.release)
    receipt = users.receipt
    assert receipt is not None
    print(f"{receipt.failed} of {receipt.requests} failed, {receipt.stale} stale, at most {receipt.max_ms} ms")
    assert receipt.failed == 0, (receipt.causes, receipt.failures[:10])
    assert set(receipt.releases) == {first.release, second.release} and receipt.requests >= 100

    notes.mends()
    text = (notes.folder / "requirements.txt").read_text()
    notes.commit("another dependency", requirements__txt=text + "six\n")
    other = notes.deploy("push")
    strategy, why = chosen(other)
    assert strategy == "restart" and "supervisord" in why and "dependencies are others" in why, why
    notes.settings({"env": {"GREETING": "hello"}})
    again = notes.deploy("push")
    assert chosen(again)[0] == "restart" and "starts with are new" in chosen(again)[1]
