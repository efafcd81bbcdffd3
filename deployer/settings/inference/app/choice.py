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
        self.candidates = tuple(candidate.path + ("()" if candidate.factory else "") for candidate in candidates)
        self.folder = candidates[0].root if len(set(self.candidates)) == 1 else ""


def choose(candidates: list[Candidate], requirements: Requirements) -> tuple[Candidate, str] | None:
    """Return the app to serve and why it was chosen; None when there is no candidate.

    Raises: AmbiguousAppError that lists the candidates when several have the same claim.
    """
    shortlist = [candidate for candidate in candidates if not candidate.factory] or [
        candidate for candidate in candidates if candidate.factory
    ]
    shortlist = [
        candidate
        for candidate in shortlist
        if not _ASIDE & {*candidate.module.split("."), *PurePosixPath(candidate.file).parts}
    ] or shortlist
    shortlist = _one_interface(shortlist, requirements)
    same: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in shortlist:
        same.setdefault((candidate.home, candidate.origin), []).append(candidate)
    objects = [min(names, key=_rank) for names in same.values()]
    if not objects:
        return None
    if len(objects) == 1:
        return objects[0], f"the only app in the code ({objects[0].file}:{objects[0].line})"
    usual = [candidate for candidate in objects if _usual(candidate)]
    if len({candidate.file for candidate in usual}) == 1:
        first = min(usual, key=_rank)
        others = ", ".join(candidate.path for candidate in objects if candidate is not first)
        return first, f"the usual name ({first.file}:{first.line}); also in the code: {others}"
    raise ambiguous(sorted(usual or objects, key=_rank))


def _one_interface(candidates: list[Candidate], requirements: Requirements) -> list[Candidate]:
    """Django writes both asgi.py and wsgi.py: the servers in the requirements tell which one is meant."""
    django = {candidate.kind.interface for candidate in candidates if candidate.kind.framework == "Django"}
    if django != {"asgi", "wsgi"}:
        return candidates
    interface = "asgi" if requirements.names & _ASGI_SERVERS else "wsgi"
    return [
        candidate
        for candidate in candidates
        if candidate.kind.framework != "Django" or candidate.kind.interface == interface
    ]


def _usual(candidate: Candidate) -> bool:
    last = candidate.module.rpartition(".")[2]
    package = candidate.file.endswith("__init__.py")
    names = FACTORY_NAMES if candidate.factory else APP_NAMES[:6]
    return (last in _MODULES or package) and candidate.attribute in names


def _rank(candidate: Candidate) -> tuple[int, int, int, int, str]:
    last = candidate.module.rpartition(".")[2]
    names = FACTORY_NAMES if candidate.factory else APP_NAMES
    return (
        0 if _usual(candidate) else 1,
        candidate.module.count("."),
        _MODULES.index(last) if last in _MODULES else len(_MODULES),
        names.index(candidate.attribute) if candidate.attribute in names else len(names),
        candidate.path,
    )


def ambiguous(candidates: list[Candidate]) -> AmbiguousAppError:
    """Return the error that lists these, the likeliest first."""
    error = AmbiguousAppError(
        candidates,
        f"several apps could be the one to serve: {', '.join(candidate.path for candidate in candidates)}",
        log=[
            f"{candidate.path}  {candidate.kind.framework}, {candidate.file}:{candidate.line}"
            for candidate in candidates
        ],
    )
    setting = f"source: {{subdir: {error.folder}}}" if error.folder else f"runtime: {{app: {candidates[0].path}}}"
    error.hint = f"add to deploy.yaml: {setting}"
    return error
