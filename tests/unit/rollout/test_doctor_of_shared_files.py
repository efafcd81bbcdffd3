"""doctor asks each host that has a release whether the files of `shared:` are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from whole import Commands


@pytest.fixture
def looked_for(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """The hosts that were asked and the names; web2 lacks all of them."""
    with Path("deploy.yaml").open("a") as settings:
        settings.write("shared: [media/, local.py, keys/app.pem]\n")
    questions: list[tuple[str, list[str]]] = []

    def run(host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        argv = list(args["command"])
        missing = ""
        if argv[:2] == ["sh", "-c"]:
            questions.append((host, argv[4:]))
            missing = "".join(f"{name}\n" for name in argv[5:]) if host == "web2" else ""
        return {"exit": 0, "signal": None, "stdout": missing, "stderr": ""}

    monkeypatch.setattr(commands.hosts, "command_run", run)
    return questions


def test_a_missing_file_is_a_finding_with_its_host(commands: Commands, looked_for: list[Any]) -> None:
    end = commands.closing("doctor", "prod")
    assert looked_for == [(web, ["/srv/shop/shared", "local.py", "keys/app.pem"]) for web in ("web1", "web2")]
    (finding,) = [each for each in end["data"]["findings"] if not each["ok"]]
    assert (finding["check"], finding["host"], finding["code"]) == ("shared_files", "web2", "shared_missing")
    assert finding["message"].startswith("local.py, keys/app.pem of shared: in deploy.yaml is missing in /srv/shop/")
    assert end["exit_status"] == 3 and end["error"]["code"] == "shared_missing"


def test_a_host_without_a_release_is_not_asked(commands: Commands, looked_for: list[Any]) -> None:
    commands.hosts.current["web2"] = None
    end = commands.closing("doctor", "prod")
    assert [host for host, _ in looked_for] == ["web1"]
    assert end["exit_status"] == 0, end["error"]
