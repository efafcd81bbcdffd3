"""Messages to a balancer host: its pool, its watchdog, and the page of maintenance."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import (
    Amount,
    Count,
    JsonMap,
    Milliseconds,
    Moment,
    NotRequired,
    Operation,
    TypedDict,
)


class HeldRecord(TypedDict):
    """Why a server is out of the pool. `by`: `run`, `person`, `quarantine` or `spare`; `at`: where the server is."""

    by: str
    who: NotRequired[str | None]
    reason: NotRequired[str | None]
    run: NotRequired[str | None]
    since: NotRequired[Moment | None]
    at: NotRequired[str | None]


class OnBalancer(OnSite):
    """`driver` describes the pool; its kind reads it (`agent.balancer.kinds`)."""

    driver: JsonMap


class Drain(OnBalancer):
    """`timeout`: seconds for what is in flight. `by`: `run`, `person` or `quarantine`."""

    run: str
    servers: list[str]
    timeout: NotRequired[Amount]
    reason: NotRequired[str]
    by: NotRequired[str]


class DrainedServer(TypedDict):
    """`remaining`: requests and websockets in flight; `drained` false: there were some at the timeout."""

    drained: bool
    remaining: Count
    seconds: Amount
    held: HeldRecord


class Drained(TypedDict):
    """By server."""

    servers: dict[str, DrainedServer]


class Admit(OnBalancer):
    """`wait`: seconds until each server serves. `force` lifts what a person or a quarantine holds; `by`: who admits.

    `instead`: name → the server whose place it takes. `held`: name → record, of servers that are held out again.
    """

    run: str
    servers: list[str]
    wait: NotRequired[Amount]
    by: NotRequired[str]
    force: NotRequired[bool]
    instead: NotRequired[dict[str, str]]
    held: NotRequired[dict[str, HeldRecord]]


class AdmittedServer(TypedDict):
    """`held`: who goes on holding it out; null: it serves."""

    state: str
    seconds: Amount
    held: HeldRecord | None


class Admitted(TypedDict):
    """By server."""

    servers: dict[str, AdmittedServer]


class TakeOutOfUse(OnBalancer):
    """Slots that no instance serves in."""

    run: str
    servers: list[str]


class ServerOut(TypedDict):
    """Always `MAINT`."""

    state: str


class OutOfUse(TypedDict):
    """By server."""

    servers: dict[str, ServerOut]


class LookAtPool(OnBalancer):
    """`judged_within`: seconds to wait, at most, until every server that is to serve was checked.

    `configured`: of a balancer that does not answer, the servers that its configuration has; none of them serves.
    """

    judged_within: NotRequired[Amount]
    configured: NotRequired[bool]


class ServerState(TypedDict):
    """`state`: UP, DOWN, DRAIN or MAINT. `serves`: it gets requests. `address`: `ADDRESS:PORT` or a socket's path."""

    state: str
    serves: bool
    check: str
    sessions: Count
    address: str
    held: HeldRecord | None


class PoolState(TypedDict):
    """By server."""

    servers: dict[str, ServerState]


class LookElsewhere(OnBalancer):
    """The servers to look for."""

    servers: list[str]


class Elsewhere(TypedDict):
    """Server → the earlier places at which it still gets requests, of those that have any."""

    servers: dict[str, list[str]]


class Recover(OnBalancer):
    """Only for the holder of the lock."""

    run: str


class Recovered(TypedDict):
    """What dead runs left drained, and what is held out again."""

    admitted: list[str]
    held_again: list[str]


class Watch(OnBalancer):
    """`bound`: seconds after which the watchdog admits what this run drained. `out`: servers that are to be stopped."""

    run: str
    bound: Amount
    out: NotRequired[list[str]]


class Watched(TypedDict):
    """`systemd` or `process`."""

    armed: str


class ReadStats(OnBalancer):
    """Requests that ended within `last` seconds; those of the next `ahead` seconds can be read later."""

    last: Amount
    ahead: Amount


class RequestStats(TypedDict):
    """`failed`: answered with 500 or more. `lost`: without a whole response. `times`: milliseconds → requests."""

    requests: Count
    failed: Count
    lost: Count
    times: dict[Milliseconds, Count]


class Stats(TypedDict):
    """By server, of those that had a request."""

    servers: dict[str, RequestStats]


class MaintenanceRecord(TypedDict):
    """Who closed the app to its users, why and since when."""

    who: str
    reason: str
    since: Moment


class SetMaintenance(OnBalancer):
    """`on` false opens the app."""

    on: bool
    reason: NotRequired[str | None]
    who: NotRequired[str]


class MaintenanceSet(TypedDict):
    """`maintenance` null: the app is open."""

    maintenance: MaintenanceRecord | None
    changed: bool


class MaintenanceState(TypedDict):
    """`maintenance` null: the app is open."""

    maintenance: MaintenanceRecord | None


DRAIN = Operation("balancer.drain", Drain, Drained)
ADMIT = Operation("balancer.admit", Admit, Admitted)
RETIRE = Operation("balancer.retire", TakeOutOfUse, OutOfUse)
STATE = Operation("balancer.state", LookAtPool, PoolState)
ELSEWHERE = Operation("balancer.elsewhere", LookElsewhere, Elsewhere)
RECOVER = Operation("balancer.recover", Recover, Recovered)
WATCH = Operation("balancer.watch", Watch, Watched)
STATS = Operation("figures.read", ReadStats, Stats)
SET_MAINTENANCE = Operation("maintenance.set", SetMaintenance, MaintenanceSet)
MAINTENANCE = Operation("maintenance.state", OnSite, MaintenanceState)
