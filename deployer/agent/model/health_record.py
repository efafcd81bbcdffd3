"""What a release keeps of the health check that it was built with."""

from __future__ import annotations

from deployer.agent.model.typed import Amount, NotRequired, TypedDict


class HealthRecord(TypedDict):
    """The health check that a release was built with; an earlier version kept `path` and `status` alone."""

    path: str
    status: int | None
    host: NotRequired[str]
    headers: NotRequired[dict[str, str]]
    https: NotRequired[bool]
    within: NotRequired[Amount]
    timeout: NotRequired[Amount]
