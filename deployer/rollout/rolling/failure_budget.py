"""How many instances may fail before a rollout gives up, and what becomes of it then: a written policy."""

from __future__ import annotations

from deployer.errors import DeployError
from deployer.plan.model import InstanceStep
from deployer.plan.rolling.waves import size_of
from deployer.settings.models import Rolling


class FailureBudget:
    """Counts the instances that failed and were left behind, against `rolling.max_failures`.

    `behind` are those that are within the budget: they serve what they served before, or are quarantined.
    """

    def __init__(self, rolling: Rolling, instances: int) -> None:
        self.behind: dict[InstanceStep, DeployError] = {}
        self._goes_on = rolling.on_failure == "continue"
        self._most = size_of(rolling.max_failures, instances)

    def allows(self, more: int) -> bool:
        """Whether the rollout goes on after so many more failures."""
        return self._goes_on or len(self.behind) + more <= self._most

    def leave(self, failed: dict[InstanceStep, DeployError]) -> None:
        """Notes that these stay behind."""
        self.behind.update(failed)

    @property
    def hosts(self) -> set[str]:
        """The hosts that have an instance which stayed behind."""
        return {step.host for step in self.behind}
