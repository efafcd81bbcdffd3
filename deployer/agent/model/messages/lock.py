"""Messages of the lock of a site (`agent.site.lock`)."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import Amount, Count, Moment, NotRequired, Operation, TypedDict


class Holder(TypedDict):
    """Who holds a lock, by its run. Null: its holder has not noted it.

    `lost`: since when its controller is gone; `until`: by when its agent has wound up. `silent`: the seconds for which
    its agent has shown no sign of life.
    """

    who: NotRequired[str | None]
    run: NotRequired[str | None]
    command: NotRequired[str | None]
    since: NotRequired[Moment | None]
    pid: NotRequired[int | None]
    lost: NotRequired[Moment | None]
    until: NotRequired[Moment | None]
    silent: NotRequired[Count | None]


class TakeLock(OnSite):
    """`wait`: seconds to wait for another holder; 0 fails at once. `command`: the ledger notes that it begins."""

    run: str
    who: str
    wait: NotRequired[Amount]
    command: NotRequired[str | None]


class LockTaken(TypedDict):
    """The lock is held until `lock.release` or the end of the agent."""

    taken: bool


class LockReleased(TypedDict):
    """`released` false: this agent did not hold it."""

    released: bool


class RequestStop(OnSite):
    """`who` asks the run that holds the lock to stop."""

    who: str


class StopRequested(TypedDict):
    """The run that was asked; null: nobody holds the lock."""

    holder: Holder | None


class ReadStopRequest(OnSite):
    """The run that asks whether it is to stop."""

    run: str


class StopRequest(TypedDict):
    """Who asked that run to stop; null: nobody."""

    by: str | None


TAKE = Operation("lock.take", TakeLock, LockTaken)
RELEASE = Operation("lock.release", OnSite, LockReleased)
ASK = Operation("lock.ask", RequestStop, StopRequested)
ASKED = Operation("lock.asked", ReadStopRequest, StopRequest)
