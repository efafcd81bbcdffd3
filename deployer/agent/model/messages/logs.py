"""Messages of logs (`agent.instance.logs`)."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import Amount, Count, Json, Moment, NotRequired, Operation, TypedDict


class LogSource(TypedDict):
    """A log: `journal` is a unit, `file` a path; one of the two counts. `port` and `index`: the slot that writes it.

    `cursor` is that of the response before; null begins with the last lines.
    """

    journal: NotRequired[str]
    file: NotRequired[str]
    port: NotRequired[int]
    index: NotRequired[int]
    cursor: NotRequired[Json]


class ReadLogs(OnSite):
    """`lines`, `seconds`: what to begin with where there is no cursor; 0 seconds: of any age.

    `partial`: also a last line whose newline is still missing.
    """

    logs: dict[str, LogSource]
    lines: NotRequired[Count]
    seconds: NotRequired[Amount]
    partial: NotRequired[bool]


class LogPage(TypedDict):
    """Lines with their times, and the cursor after them. `more`: there are further ones; `unread`: bytes of a file.

    `gap`: lines may be missing. The file was removed, truncated or rotated too often, or the journal no longer has the
    entry of the cursor.
    """

    lines: list[tuple[Moment, str]]
    cursor: Json
    more: bool
    gap: bool
    unread: NotRequired[Count]


class LogPages(TypedDict):
    """`now` is the time of the host."""

    now: Moment
    logs: dict[str, LogPage]


READ = Operation("logs.read", ReadLogs, LogPages, ("logs", lambda request: list(request["logs"])))
