"""A plan in a file: what was looked at is what is carried out, or nothing is.

    {"v": 1, "app", "env", "by", "made", "commit", "from", "limit", "rolling", "holds": {PART: sha256}, "plan": {…}}

`holds` has a digest of everything that the plan was made from. No value of a secret is in it, nor a digest of one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deployer.agent.model.release_id import is_release_id
from deployer.agent.system import files
from deployer.errors import UsageError
from deployer.inventory.model import Host
from deployer.plan.draft import ReleaseCandidate
from deployer.plan.facts import Facts
from deployer.plan.model import Plan
from deployer.plan.topology import Topology
from deployer.rollout.timestamps import format_utc

VERSION = 1
_TEXT_OR_NONE = (str, type(None))
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("app", "env", "by"), str),
    **dict.fromkeys(("commit", "from", "limit"), _TEXT_OR_NONE),
    **dict.fromkeys(("rolling", "holds", "plan"), dict),
    "made": (int, float),
}
_ACTS = (
    *("release", "strategy", "waves", "kept", "builds", "changes", "secrets_changed", "hooks", "promotes", "surplus"),
    *("processes", "schedules"),
)


@dataclass(frozen=True)
class Options:
    """What the plan was asked for: the environment whose release is taken, the hosts, the keys of `rolling`."""

    origin: str | None = None
    limit: str | None = None
    rolling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanFile:
    """A plan as it was written. `made` is seconds since the epoch; `commit` None for a plain folder."""

    app: str
    env: str
    by: str
    made: float
    commit: str | None
    options: Options
    holds: Mapping[str, str]
    plan: Mapping[str, Any]
    path: str = ""

    @property
    def release(self) -> str:
        """The release that the plan is about: its id stays, also where it is still to be built."""
        return str(self.plan["release"])

    def require_still(self, holds: Mapping[str, str], plan: Plan) -> None:
        """UsageError that names what is not as it was when the plan was made; nothing was changed."""
        other = [part for part, digest in self.holds.items() if holds.get(part) != digest]
        if not other and _acts(plan.as_dict()) != _acts(self.plan):
            other = ["what has to be done"]
        if other:
            when = format_utc(self.made)
            raise UsageError(
                f"{', '.join(other)} changed since the plan of {when} UTC by {self.by}",
                file=self.path,
                hint=f"deploy plan {self.env} --out {self.path} makes a new one",
                code="plan_outdated",
            )

    def write(self, path: Path) -> None:
        """Writes the file (mode 0600), whole; UsageError where that cannot be."""
        data = {
            "v": VERSION,
            "app": self.app,
            "env": self.env,
            "by": self.by,
            "made": round(self.made, 3),
            "commit": self.commit,
            "from": self.options.origin,
            "limit": self.options.limit,
            "rolling": dict(self.options.rolling),
            "holds": dict(self.holds),
            "plan": dict(self.plan),
        }
        try:
            files.write(os.path.abspath(path), (json.dumps(data, indent=1) + "\n").encode(), 0o600)
        except OSError as error:
            raise UsageError(f"the plan cannot be written: {error.strerror}", file=str(path)) from None


def read(path: Path) -> PlanFile:
    """The plan in a file; UsageError for one that is not a plan, or of another version."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise TypeError("it is not a JSON object")
        if data["v"] != VERSION:
            raise UsageError(
                f"it is a plan of version {data['v']}, and this deploy knows version {VERSION}",
                file=str(path),
                hint="make a new plan with this deploy",
            )
        for key, types in _TYPES.items():
            if not isinstance(data[key], types) or isinstance(data[key], bool):
                raise TypeError(f"{key} has the wrong type")
        if not isinstance(data["plan"]["release"], str) or not is_release_id(data["plan"]["release"]):
            raise ValueError("plan.release is not a release id")
        return PlanFile(
            app=data["app"],
            env=data["env"],
            by=data["by"],
            made=float(data["made"]),
            commit=data["commit"],
            options=Options(data["from"], data["limit"], data["rolling"]),
            holds=data["holds"],
            plan=data["plan"],
            path=str(path),
        )
    except OSError as error:
        raise UsageError(
            f"the plan cannot be read: {error.strerror}",
            file=str(path),
            hint="deploy plan {env} --out plan.json writes one",
        ) from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        cause = f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        hint = "deploy plan {env} --out plan.json writes one"
        raise UsageError("the file is not a plan", file=str(path), cause=cause, hint=hint) from None


def holding(topology: Topology, facts: Facts, draft: ReleaseCandidate) -> dict[str, str]:
    """What a plan depends on, each part as a digest: `hosts`, `settings`, `releases` (what is where), `source`."""
    settings = topology.settings.model_dump(mode="json", by_alias=True, exclude={"rolling": {"probe"}})
    members = [(web.host, web.own) for web in topology.everywhere]
    hosts = [*members, *((balancer.host, balancer.site.root) for balancer in topology.balancers)]
    inferred = [topology.kind, topology.health_path, topology.health_status, topology.served_by]
    starts = {name: start.sha for name, start in draft.starts.items()}
    return {
        "the hosts": _digest([_written(*member) for member in hosts]),
        "the settings": _digest([settings, inferred]),
        "the releases on the hosts": _digest(_standing(topology, facts)),
        "the source": _digest([draft.files, draft.commit, draft.origin, starts]),
    }


def _written(host: Host, own: object) -> list[Any]:
    """A host as text that every process writes alike: a set has no order of its own."""
    return [repr(replace(host, groups=frozenset())), sorted(host.groups), repr(own)]


def _standing(topology: Topology, facts: Facts) -> list[Any]:
    state: list[Any] = [sorted(facts.held()), sorted(facts.spare())]
    for web in topology.builders:
        host_facts = facts[web.name]
        releases = [
            (release.id, release.complete, release.proven, release.withdrawn) for release in host_facts.releases
        ]
        serving = [
            (index, instance.port, instance.release, instance.proven)
            for index, instance in sorted(host_facts.serving.items())
        ]
        state.append(
            [
                web.name,
                host_facts.current,
                host_facts.survey and host_facts.survey.get("slots"),
                releases,
                serving,
                sorted(host_facts.beside),
            ]
        )
    return state


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


def _acts(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan does, as it looks when it comes out of a file."""
    made: dict[str, Any] = json.loads(json.dumps({key: plan.get(key) for key in _ACTS}, default=str))
    return made
