"""Checks: testinfra files, run through the agent sessions that are already open.

verification = verify.run([CheckSet([Path("checks")], ["web1"], {"app": "shop"})], runner, on_result)
"""

from deployer.verify.checker import Checker
from deployer.verify.files import Scope, find, scope_of
from deployer.verify.model import CheckResult, CheckSet, CommandResult, Runner, Verification
from deployer.verify.running import run

__all__ = [
    "CheckResult",
    "CheckSet",
    "Checker",
    "CommandResult",
    "Runner",
    "Scope",
    "Verification",
    "find",
    "run",
    "scope_of",
]
