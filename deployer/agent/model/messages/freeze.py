"""Messages of the stop sign for pushes (`agent.site.freeze`)."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import Moment, NotRequired, Operation, TypedDict


class FreezeRecord(TypedDict):
    """Who froze the site, why and since when; null where its file does not say."""

    who: str | None
    reason: str | None
    since: Moment | None


class Freeze(OnSite):
    """Without `who` it is the controller's own identity."""

    reason: str
    who: NotRequired[str]


class Frozen(TypedDict):
    """The record as it was written."""

    frozen: FreezeRecord


class Thaw(OnSite):
    """Without `who` it is the controller's own identity."""

    who: NotRequired[str]


class Thawed(TypedDict):
    """`cleared` false: it was not frozen."""

    cleared: bool


SET = Operation("freeze.set", Freeze, Frozen)
CLEAR = Operation("freeze.clear", Thaw, Thawed)
