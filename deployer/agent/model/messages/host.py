"""Messages about a host: all that planning needs to know of it, and commands that run there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import (
    Amount,
    Count,
    Moment,
    NotRequired,
    Operation,
    PortText,
    PythonVersion,
    TypedDict,
)

if TYPE_CHECKING:
    from deployer.agent.model.health_record import HealthRecord
    from deployer.agent.model.messages.freeze import FreezeRecord
    from deployer.agent.model.messages.lock import Holder
    from deployer.agent.model.messages.releases import Origin, Resolution
    from deployer.agent.model.messages.site import HalfDone
    from deployer.agent.model.messages.takeover import Adoption


class LookAtHost(OnSite):
    """`ports` are looked at on `address` alone, or in the folder that it is, where given. `brief`: a part of the facts.

    `sockets`: port → what prints `active` where systemd holds that port for the app. `python_versions`: `3.12`.
    `peers`: addresses that this host connects to.
    """

    brief: NotRequired[bool]
    ports: NotRequired[list[int]]
    address: NotRequired[str]
    sockets: NotRequired[dict[PortText, list[str]]]
    tools: NotRequired[list[str]]
    python_versions: NotRequired[list[str]]
    peers: NotRequired[list[str]]


class Removal(TypedDict):
    """Who took the app off this host, and when."""

    who: str | None
    run: str | None
    since: Moment | None


class Owner(TypedDict):
    """Whose the root is; `removed`: the app was taken off this host."""

    app: str | None
    env: str | None
    removed: NotRequired[Removal | None]


class OsRelease(TypedDict):
    """As in os-release(5)."""

    id: str
    version: str


class Interpreter(TypedDict):
    """The Python that runs the agent."""

    version: PythonVersion
    path: str


class Limit(TypedDict):
    """What a control group or a drop-in allows; `memory` in bytes, null: anything."""

    cores: Amount | None
    memory: Amount | None


class PathProblem(TypedDict):
    """A path that a push writes, and why this user cannot."""

    path: str
    why: str


class ForeignPaths(TypedDict):
    """Paths in `shared/` of other users (uids as text). `complete` false: there are more."""

    count: Count
    complete: bool
    users: list[str]
    example: str


class PortHolder(TypedDict):
    """Who listens at a port. `ours`: a process of a release. `socket`: systemd has it open for the app.

    `pid` null: it may not be looked into.
    """

    pid: int | None
    command: str
    user: str
    unit: str
    ours: bool
    socket: bool


class ReleaseFolder(TypedDict):
    """A release on a host, with what its marker says; null: it does not. `asked`: the digest of its health check.

    `damage`: what is wrong with its virtualenv, which can be built again where it is `repairable`.
    """

    id: str
    complete: bool
    proven: bool
    withdrawn: bool
    content: str | None
    start_sha: str | None
    run_sha: str | None
    venv: str | None
    bind: str | None
    commit: str | None
    created: Moment | None
    origin: Origin | None
    asked: str | None
    health: HealthRecord | None
    processes: list[str] | None
    resolution: Resolution | None
    damage: NotRequired[str]
    repairable: NotRequired[bool]


class Standing(TypedDict):
    """How the site stands on a host, and who looks at it: all that a `brief` survey tells."""

    user: str
    exists: bool
    writable: bool
    owner: Owner | None
    frozen: FreezeRecord | None
    lock: Holder | None
    adoption: Adoption | None


class Machine(TypedDict, total=False):
    """The host itself. `memory` and `mem_available`: bytes. `uptime`: seconds of the boot-time clock."""

    hostname: str
    os: OsRelease
    arch: str
    libc: str
    uid: Count
    python: Interpreter
    init: str
    cores: Count
    memory: Count
    mem_available: Count
    limits: dict[str, Limit | None]
    boot_id: str
    uptime: Amount


class HostFacts(Standing, Machine, total=False):
    """All that planning needs to know of a host. `brief`: only how the site stands.

    `tools`, `pythons`: name or version → path, null: not there. `free_bytes`: of the root's file system. `sources`:
    peer → the address of this host that it sees. `foreign` null: none. `ports` null: free. `half_done`: what was begun
    and has no outcome.
    """

    tools: dict[str, str | None]
    pythons: dict[str, str | None]
    free_bytes: Count
    unwritable: list[PathProblem]
    user_exists: bool
    foreign: ForeignPaths | None
    sources: dict[str, str]
    ports: dict[PortText, PortHolder | None]
    current: str | None
    releases: list[ReleaseFolder]
    slots: dict[PortText, str]
    processes: dict[str, str]
    schedules: dict[str, str]
    half_done: list[HalfDone]


class RunCommand(TypedDict):
    """`command`: argv, or text for sh. `env`: the whole environment. `stream`: lines come as output events.

    The body is its standard input.
    """

    command: str | list[str]
    cwd: NotRequired[str | None]
    env: NotRequired[dict[str, str] | None]
    user: NotRequired[str]
    timeout: NotRequired[Amount]
    stream: NotRequired[bool]


class CommandEnded(TypedDict):
    """`signal`: what killed it; `exit` null then."""

    exit: int | None
    signal: int | None
    stdout: str
    stderr: str


SURVEY = Operation("host.survey", LookAtHost, HostFacts)
RUN = Operation("command.run", RunCommand, CommandEnded)
