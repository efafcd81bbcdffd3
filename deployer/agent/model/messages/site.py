"""Messages about a site as a whole: `current`, the ledger, plans, and the end of an app on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import Amount, Count, Empty, JsonMap, Moment, NotRequired, Operation, TypedDict

if TYPE_CHECKING:
    from deployer.agent.model.messages.lock import Holder


class LedgerLine(TypedDict, total=False):
    """One line of a ledger. Which keys it has depends on `event`; those of an earlier version may have others."""

    ts: Moment
    run: str | None
    event: str | None
    op: str | None
    instance: int | str | None
    port: int | None
    release: str | None
    previous: str | None
    who: str | None
    command: str | None
    outcome: str | None
    why: str | None
    via: str | None
    duration_s: Amount | None
    ok: object
    state: object
    restored: object
    undo: object
    servers: object
    what: object
    exit: object
    timeout: object


class HalfDone(TypedDict):
    """What was begun and has no outcome."""

    run: str | None
    op: str | None
    instance: int | str | None
    port: int | None
    release: str | None
    previous: str | None
    since: Moment | None


class Promote(OnSite):
    """`release` null: a first push goes back; there is no current one then. `ports`: the slots to look at.

    `via`: `push`, `rollback`, `restore` or `reload`.
    """

    run: str
    release: str | None
    via: str
    ports: NotRequired[list[int]]


class Promoted(TypedDict):
    """`previous` null: there was none."""

    current: str | None
    previous: str | None
    changed: bool


class NotePlan(OnSite):
    """`plan` is what the run is about to do, with `command` and `release`."""

    run: str
    plan: JsonMap


class NotedPlan(TypedDict):
    """What the controller reads of a plan that was noted."""

    command: str
    release: str


class LastPlan(TypedDict):
    """The plan noted last; null: none. `ended`: its run came to its end here."""

    run: str | None
    plan: NotedPlan | None
    ended: bool


class NoteBegin(OnSite):
    """What a run is about, once it is known."""

    run: str
    who: str
    command: str
    release: str | None


class NoteEnd(OnSite):
    """How a run ended."""

    run: str
    who: str
    command: str
    release: str | None
    outcome: str
    why: str
    duration_s: Amount


class ReadLedger(OnSite):
    """`limit`: the last so many entries; null: all."""

    limit: NotRequired[Count | None]


class Ledger(TypedDict):
    """The entries, oldest first; `lock`: who holds it now."""

    entries: list[LedgerLine]
    lock: Holder | None


class Joined(TypedDict):
    """`joined` false: the app was never taken off this host."""

    joined: bool


class Uninstall(OnSite):
    """`balances`: the host goes on as a balancer of the app."""

    run: str
    who: str
    balances: NotRequired[bool]


class Uninstalled(TypedDict):
    """The folders that stay."""

    kept: list[str]


PROMOTE = Operation("site.promote", Promote, Promoted)
NOTE_PLAN = Operation("site.note_plan", NotePlan, Empty)
PLAN = Operation("site.plan", OnSite, LastPlan)
NOTE_BEGIN = Operation("site.note_begin", NoteBegin, Empty)
NOTE_END = Operation("site.note_end", NoteEnd, Empty)
LEDGER = Operation("site.ledger", ReadLedger, Ledger)
JOIN = Operation("site.join", OnSite, Joined)
UNINSTALL = Operation("belongings.remove", Uninstall, Uninstalled)
