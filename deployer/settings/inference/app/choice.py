"""Which of the apps found in the code is the one to serve."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from deployer.errors import SettingsError
from deployer.settings.inference.app.apps import APP_NAMES, FACTORY_NAMES, Candidate
from deployer.settings.inference.requirements import Requirements

_MODULES = ("main", "app", "asgi", "wsgi", "application", "server", "api")
_ASIDE = {"examples", "example", "docs", "scripts", "demo", "samples", "benchmarks"}
_ASGI_SERVERS = {"uvicorn", "uvicorn-worker", "hypercorn", "daphne", "channels", "granian"}


class AmbiguousAppError(SettingsError):
    """Several apps could be the one to serve; `candidates` are their paths, the likeliest first.

    `folder` is that of the likeliest, below the source folder, where all have the same path and only folders tell
    them apart; else it is empty.
    """

    default_code = "ambiguous_app"

    def __init__(self, candidates: list[Candidate], message: str, **more: Any) -> None:
        super().__init__(message, **more)
        self.candidates = tuple(one.path + ("()" if one.factory else "") for one in candidates)
        self.folder = candidates[0].root if len(set(self.candidates)) == 1 else ""


def choose(candidates: list[Candidate], requirements: Requirements) -> tuple[Candidate, str] | None:
    """The app to serve and why it was chosen; None when there is no candidate.

    Raises: AmbiguousAppError that lists the candidates when several have the same claim.
    """
    found = [one for one in candidates if not one.factory] or [one for one in candidates if one.factory]
    found = [one for one in found if not _ASIDE & {*one.module.split("."), *PurePosixPath(one.file).parts}] or found
    found = _one_interface(found, requirements)
    same: dict[tuple[str, str], list[Candidate]] = {}
    for one in found:
        same.setdefault((one.home, one.origin), []).append(one)
    objects = [min(names, key=_rank) for names in same.values()]
    if not objects:
        return None
    if len(objects) == 1:
        return objects[0], f"the only app in the code ({objects[0].file}:{objects[0].line})"
    usual = [one for one in objects if _usual(one)]
    if len({one.file for one in usual}) == 1:
        first = min(usual, key=_rank)
        others = ", ".join(one.path for one in objects if one is not first)
        return first, f"the usual name ({first.file}:{first.line}); also in the code: {others}"
    raise ambiguous(sorted(usual or objects, key=_rank))


def _one_interface(found: list[Candidate], requirements: Requirements) -> list[Candidate]:
    """Django writes both asgi.py and wsgi.py: the servers in the requirements tell which one is meant."""
    django = {one.kind.interface for one in found if one.kind.framework == "Django"}
    if django != {"asgi", "wsgi"}:
        return found
    wanted = "asgi" if requirements.names & _ASGI_SERVERS else "wsgi"
    return [one for one in found if one.kind.framework != "Django" or one.kind.interface == wanted]


def _usual(one: Candidate) -> bool:
    last = one.module.rpartition(".")[2]
    package = one.file.endswith("__init__.py")
    names = FACTORY_NAMES if one.factory else APP_NAMES[:6]
    return (last in _MODULES or package) and one.attribute in names


def _rank(one: Candidate) -> tuple[int, int, int, int, str]:
    last = one.module.rpartition(".")[2]
    names = FACTORY_NAMES if one.factory else APP_NAMES
    return (
        0 if _usual(one) else 1,
        one.module.count("."),
        _MODULES.index(last) if last in _MODULES else len(_MODULES),
        names.index(one.attribute) if one.attribute in names else len(names),
        one.path,
    )


def ambiguous(candidates: list[Candidate]) -> AmbiguousAppError:
    """The error that lists these, the likeliest first."""
    found = AmbiguousAppError(
        candidates,
        f"several apps could be the one to serve: {', '.join(one.path for one in candidates)}",
        log=[f"{one.path}  {one.kind.framework}, {one.file}:{one.line}" for one in candidates],
    )
    way = f"source: {{subdir: {found.folder}}}" if found.folder else f"runtime: {{app: {candidates[0].path}}}"
    found.hint = f"add to deploy.yaml: {way}"
    return found
