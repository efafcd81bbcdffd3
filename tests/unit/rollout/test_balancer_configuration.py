"""A configuration that the balancer refuses: who can mend the file that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from whole import Commands

ALERT = "[ALERT]    (7) : config : parsing [{}:19] : unknown keyword 'junk' in 'backend' section\n"
OURS = "/etc/haproxy/deploy/50-shop-prod.cfg"


@pytest.mark.parametrize(
    ("path", "first_line", "hint"),
    [
        (OURS, "", f"deploy setup prod --replace writes {OURS} anew"),
        (
            "/etc/haproxy/deploy/00-deploy.cfg",
            "",
            "deploy setup prod --replace writes /etc/haproxy/deploy/00-deploy.cfg anew",
        ),
        (
            "/etc/haproxy/deploy/50-a-b-c.cfg",
            "# a-b in c\n",
            "in the folder of a-b: deploy setup c --replace, which writes /etc/haproxy/deploy/50-a-b-c.cfg anew",
        ),
        ("/etc/haproxy/deploy/50-a-b-c.cfg", "junk\n", "/etc/haproxy/deploy/50-a-b-c.cfg was written by deploy"),
        (
            "/etc/haproxy/haproxy.cfg",
            "",
            "mend /etc/haproxy/haproxy.cfg on lb1: deploy did not write it, and only ever writes files of its own",
        ),
    ],
)
@pytest.mark.parametrize("command", ["doctor", "push"])
def test_the_way_on_is_that_of_whoever_wrote_the_file(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, command: str, path: str, first_line: str, hint: str
) -> None:
    usual = commands.hosts.command_run

    def run(host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        argv = list(args["command"])
        if "check" in argv and host == "lb1":
            return {"exit": 1, "signal": None, "stdout": "", "stderr": ALERT.format(path)}
        if argv[0] == "head":
            assert argv[-1] == path
            return {"exit": 0, "signal": None, "stdout": first_line, "stderr": ""}
        return usual(host, args)

    monkeypatch.setattr(commands.hosts, "command_run", run)
    error = commands.closing(command, "prod")["error"]
    assert error["code"] == "balancer_configuration" and error["host"] == "lb1"
    assert error["hint"].startswith(hint)
