"""Messages about what another tool runs, and how it is taken over (`agent.takeover`)."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import Amount, Commands, Count, JsonMap, Moment, NotRequired, Operation, TypedDict


class ForeignUnit(TypedDict):
    """A unit or program of another tool that serves at `ports`. `why`: what keeps it from being retired.

    `program`: its supervisor's name of it, and `start` and `stop` what a person would type.
    """

    unit: str
    ports: list[Count]
    why: NotRequired[str | None]
    pid: NotRequired[int | None]
    command: NotRequired[str | None]
    enabled: NotRequired[bool | None]
    program: NotRequired[JsonMap | None]
    start: NotRequired[str | None]
    stop: NotRequired[str | None]


class RecordedUnit(ForeignUnit):
    """`state`: `recorded`, `retiring` or `retired`."""

    state: str
    run: NotRequired[str | None]
    who: NotRequired[str | None]
    since: NotRequired[Moment | None]


class ForeignFront(TypedDict):
    """Frontends of another tool that are to lead to `backend`: the file, the change, and what it replaces."""

    path: str
    diff: str
    backend: str
    backends: list[str]
    places: dict[str, str]
    kind: NotRequired[str]


class RecordedFront(ForeignFront):
    """`state`: `recorded`, `moving` or `moved`."""

    state: str
    run: NotRequired[str | None]
    who: NotRequired[str | None]
    since: NotRequired[Moment | None]


class Adoption(TypedDict):
    """What a person has allowed to take over on a host, and how far that has come."""

    units: list[RecordedUnit]
    front: RecordedFront | None


class FindUnits(OnSite):
    """The ports of the app."""

    ports: list[int]


class UnitsFound(TypedDict):
    """Whoever else serves there."""

    units: list[ForeignUnit]


class FindFront(OnSite):
    """`path` empty: of all that the balancer reads. `places`: `ADDRESS:PORT` → host. `kind`: `haproxy` or `nginx`."""

    path: str
    places: dict[str, str]
    backend: str
    kind: NotRequired[str]


class FrontFound(TypedDict):
    """What would be changed. `led`: some frontend leads to `backend` now. `why`: what keeps it from being changed."""

    path: str
    diff: str
    backends: list[str]
    led: bool
    why: str


class RecordAdoption(OnSite):
    """What a person has allowed."""

    run: str
    who: str
    units: NotRequired[list[ForeignUnit]]
    front: NotRequired[ForeignFront | None]


class AdoptionRecorded(TypedDict):
    """The whole record."""

    adoption: Adoption


class MoveFront(OnSite):
    """`handler`: commands that check the whole configuration and make it live."""

    run: str
    handler: Commands


class FrontMoved(TypedDict):
    """`changed` false: it led there already, or nobody allowed it."""

    changed: bool


class RetireUnits(OnSite):
    """`patience`: seconds until nobody is connected."""

    run: str
    patience: Amount


class UnitsRetired(TypedDict):
    """`busy`: unit → connections that it still had; it serves on."""

    retired: list[str]
    busy: dict[str, Count]


UNITS = Operation("adopting.units", FindUnits, UnitsFound)
FRONT = Operation("adopting.front", FindFront, FrontFound)
RECORD = Operation("adopting.record", RecordAdoption, AdoptionRecorded)
MOVE = Operation("adopting.move", MoveFront, FrontMoved)
RETIRE = Operation("adopting.retire", RetireUnits, UnitsRetired)
