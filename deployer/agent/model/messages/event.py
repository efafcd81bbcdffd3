"""What an operation tells while it runs."""

from __future__ import annotations

from deployer.agent.model.messages.lock import Holder
from deployer.agent.model.typed import TypedDict


class Event(TypedDict, total=False):
    """`event`: `progress` (with `message`), `output` (one `line` of a command, in a `step` of its own) or `waiting`.

    `holder`: who holds the lock that is waited for. Progress may have further keys.
    """

    event: str
    message: str
    line: str
    step: str
    holder: Holder | None
