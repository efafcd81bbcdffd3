"""What goes wrong while an agent works. (What goes wrong before that is `UnreachableError` and its subclasses.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployer.errors import DeployError


class AgentError(DeployError):
    """An operation on a host failed or refused.

    `code` is the operation's word for it (docs/operations.md), `internal` for a fault of the operation itself,
    `timeout` when it did not answer in time. `detail` is plain data, as that table says.
    """

    default_code = "agent"

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        log: Sequence[str] = (),
        detail: dict[str, Any] | None = None,
        host: str | None = None,
    ) -> None:
        super().__init__(message, host=host, hint=hint or None, log=log, code=code)
        self.detail = dict(detail or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return AgentError, (self.code, self.message, self.hint or "", self.log, self.detail, self.host), self.__dict__


class SessionLost(DeployError):
    """The link to an agent died while it was in use. The agent winds up on its own; what it did is in its ledger."""

    default_code = "session_lost"
