"""Messages about what a host should have (`agent.provisioning`)."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.resources import Resource
from deployer.agent.model.typed import Commands, NotRequired, Operation, TypedDict, Wire


class ApplyResources(OnSite):
    """`handlers`: name → commands. `keep`: the run that may put files back. `part`: `units` or `pools`, for `keep`."""

    resources: list[Wire[Resource]]
    handlers: NotRequired[dict[str, Commands]]
    dry_run: NotRequired[bool]
    replace: NotRequired[bool]
    keep: NotRequired[str]
    part: NotRequired[str]


class ResourceChange(TypedDict):
    """A change that was made, or would be."""

    kind: str
    name: str
    action: str
    diff: str


class ResourceRefusal(TypedDict):
    """Why a resource may not be made so."""

    kind: str
    name: str
    why: str
    diff: str
    hint: str


class ResourcesApplied(TypedDict):
    """`handlers`: the names of those that ran, or would."""

    changed: list[ResourceChange]
    refused: list[ResourceRefusal]
    handlers: list[str]


class RestoreResources(OnSite):
    """`new` false: files that were not there before stay."""

    run: str
    parts: list[str]
    new: NotRequired[bool]


class ResourcesRestored(TypedDict):
    """The paths."""

    changed: list[str]


class ResourcesSettled(TypedDict):
    """Whether anything was kept."""

    changed: bool


APPLY = Operation("resource.apply", ApplyResources, ResourcesApplied)
RESTORE = Operation("resource.restore", RestoreResources, ResourcesRestored)
SETTLE = Operation("resource.settle", OnSite, ResourcesSettled)
