"""The request that gives a program to a host."""

from __future__ import annotations

from deployer.agent.model.messages.dependencies import PutTool
from deployer.artifact.program import Program
from deployer.rollout.run.run import Run


def put_tool(run: Run, host: str, program: Program) -> PutTool:
    """Returns the request of `tool.put` for one host; its body is `program.packed`."""
    return PutTool(site=run.site(host), name=program.name, version=program.version, sha=program.sha256)
