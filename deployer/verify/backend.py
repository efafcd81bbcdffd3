"""testinfra through whatever already talks to the host: its only need is to run a command."""

from __future__ import annotations

from typing import Any

import testinfra.host
from testinfra.backend.base import BaseBackend
from testinfra.backend.base import CommandResult as Ran

from deployer.verify.model import Runner


class AgentBackend(BaseBackend):  # type: ignore[misc]  # testinfra says nothing of its types
    """Runs testinfra's commands with `runner`, which sends them through the host's open agent session."""

    NAME = "agent"

    def __init__(self, hostname: str, runner: Runner) -> None:
        super().__init__(hostname)
        self._runner = runner

    def run(self, command: str, *args: str, **kwargs: Any) -> Ran:
        """Run `command`, its `%s` replaced by the quoted `args`, in `sh -c` on the host."""
        line = self.get_command(command, *args)
        result = self._runner(self.hostname, line)
        return self.result(result.exit, line.encode("utf-8", "surrogateescape"), result.stdout, result.stderr)


def open_host(name: str, runner: Runner) -> testinfra.host.Host:
    """testinfra's view of the host of that inventory name."""
    backend = AgentBackend(name, runner)
    host = testinfra.host.Host(backend)
    backend.set_host(host)
    return host
