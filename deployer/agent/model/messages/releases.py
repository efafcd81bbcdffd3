"""Messages of releases: begun, filled, built, pruned, and their hook."""

from __future__ import annotations

from deployer.agent.model.health_record import HealthRecord
from deployer.agent.model.layout import OnSite
from deployer.agent.model.messages.dependencies import VenvSpec
from deployer.agent.model.typed import (
    Amount,
    Count,
    Moment,
    NotRequired,
    Operation,
    TypedDict,
)


class ReleaseContent(OnSite):
    """`venv`: the key of its virtualenv; no wheels are asked for where that is complete.

    The body of `release.begin` is the manifest, that of `release.fill` one gzip'd tar of blobs named by their SHA-256.
    """

    release: str
    venv: NotRequired[str]


class Begun(TypedDict):
    """`complete`: it is built already. `missing`: hashes. `reused`: files taken from earlier releases."""

    complete: bool
    missing: list[str]
    missing_bytes: Count
    reused: Count


class Filled(TypedDict):
    """What arrived."""

    files: Count
    bytes: Count


class PrepareHook(TypedDict):
    """`command` is for sh; `timeout` in seconds."""

    command: str
    timeout: NotRequired[Amount]


class AppCheck(TypedDict):
    """The command that loads the app; `target`: what it loads, in words."""

    argv: list[str]
    target: NotRequired[str]
    timeout: NotRequired[Amount]


class StaticFolder(TypedDict):
    """`dir`, the folder in the release, and `url`, the path below which it is served."""

    url: str
    dir: str


class Origin(TypedDict):
    """Where a promoted release was proven before."""

    env: str
    release: str


class Resolution(TypedDict):
    """When unlocked dependencies were resolved, and the digest of what was asked for."""

    at: Moment
    digest: str


class Marker(TypedDict, total=False):
    """What a complete release says of itself. Releases of earlier versions lack keys.

    `asked` is the digest of its health check, `files` that of what was shipped.
    """

    content: str | None
    files: str | None
    requirements: list[str] | None
    resolution: Resolution | None
    origin: Origin | None
    start_sha: str | None
    run_sha: str | None
    commit: str | None
    ref: str | None
    created: Moment | None
    health: HealthRecord | None
    asked: str | None
    bind: str | None
    processes: list[str] | None
    venv: str | None


class BuildRelease(OnSite):
    """How a release is made of what was gathered.

    `run`: the text of its script. `files`: path → text. `meta` goes into the marker. `shared`: paths that lead to
    `shared/`, of which `shared_folders` become folders where nothing is there yet. `env` is what hooks see.
    """

    release: str
    run: str
    files: NotRequired[dict[str, str]]
    meta: NotRequired[Marker]
    venv: VenvSpec
    env: NotRequired[dict[str, str]]
    shared: NotRequired[list[str]]
    shared_folders: NotRequired[list[str]]
    prepare: NotRequired[PrepareHook | None]
    check: NotRequired[AppCheck | None]
    static: NotRequired[StaticFolder | None]


class Built(TypedDict):
    """`built` false: it was complete."""

    built: bool
    venv_built: bool
    seconds: Amount


class Prune(OnSite):
    """`protect`: releases that stay whatever `keep` says. `weigh`: say what goes. `dry_run`: remove nothing."""

    keep: int
    protect: NotRequired[list[str]]
    weigh: NotRequired[bool]
    dry_run: NotRequired[bool]


class Pruned(TypedDict):
    """Releases and keys of virtualenvs; `failed`: path → why it could not be removed. With `weigh` also the rest."""

    removed: list[str]
    venvs: list[str]
    failed: dict[str, str]
    bytes: NotRequired[Count]
    inodes: NotRequired[Count]


class OneRelease(OnSite):
    """A release by its id."""

    release: str


class Removed(TypedDict):
    """Whether it was there."""

    removed: bool


class MarkerRead(TypedDict):
    """`marker` null: there is none."""

    marker: Marker | None


class RunReleaseHook(OnSite):
    """`command` is for sh. `rerun_safe`: an attempt whose end nobody knows may be repeated."""

    run: str
    release: str
    command: str
    env: NotRequired[dict[str, str]]
    timeout: NotRequired[Amount]
    rerun_safe: NotRequired[bool]


class HookEnded(TypedDict):
    """`output`: its last 64 KiB. `skipped`: it succeeded for this release before."""

    exit: int
    output: str
    skipped: bool


BEGIN = Operation("release.begin", ReleaseContent, Begun)
FILL = Operation("release.fill", ReleaseContent, Filled)
BUILD = Operation("release.build", BuildRelease, Built)
PRUNE = Operation("release.prune", Prune, Pruned)
DISCARD = Operation("release.discard", OneRelease, Removed)
MARKER = Operation("release.marker", OneRelease, MarkerRead)
HOOK = Operation("hook.release", RunReleaseHook, HookEnded)
