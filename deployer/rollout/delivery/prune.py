"""`deploy prune`: old releases and virtualenvs go, as after a push; and what a full disk does before it is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.agent.model.messages import releases as wire
from deployer.events import Output
from deployer.rollout.data import Data
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.locks import lock_site
from deployer.rollout.run.project import Project
from deployer.rollout.run.recording import recorded
from deployer.rollout.run.run import Run
from deployer.rollout.steps.current_release import warn_of_remains
from deployer.rollout.steps.survey import look_first


class PrunedHost(Data):
    """What goes on one host."""

    host: str
    """The host."""
    releases: list[str]
    """The ids of the releases."""
    venvs: list[str]
    """The keys of the virtualenvs."""
    bytes: int
    """The bytes that this gives back on the disk."""
    inodes: int
    """The files that this gives back on the disk."""


class Pruned(Data):
    """What `deploy prune` answers."""

    dry_run: bool
    """Nothing was removed: `hosts` is what would be."""
    keep: int
    """How many releases are kept on each host (`keep` in deploy.yaml)."""
    hosts: list[PrunedHost]
    """Every web host, also one where nothing goes."""


def prune(project: Project, invocation: Invocation, *, dry_run: bool) -> None:
    """Removes what `keep` no longer covers on every web host, and says what that is and how much it gives back.

    What `current`, a slot, a process or a rollback needs stays. `unchanged` where nothing is to go.

    Args:
        dry_run: only says it; takes no lock.

    Raises NotReadyError, LockedError before anything is removed.
    """
    if not dry_run:
        _remove(project, invocation)
        return
    with open_run(project, invocation) as run:
        look_first(run)
        answers = _ask(run, dry_run=True)
        invocation.record.data = pruned(run, answers, dry_run=True)
        _report(run, answers, "would remove")


@recorded
def _remove(project: Project, invocation: Invocation) -> None:
    with open_run(project, invocation) as run:
        look_first(run)
        with lock_site(run, wait=invocation.wait):
            with run.step("prune"):
                answers = _ask(run, dry_run=False)
            invocation.record.data = pruned(run, answers, dry_run=False)
            _report(run, answers, "removed")


def pruned(run: Run, answers: Mapping[str, wire.Pruned], *, dry_run: bool) -> Pruned:
    """The answer of the command, from those of the hosts (`release.prune`)."""
    hosts = [
        PrunedHost(
            host=host,
            releases=list(answer["removed"]),
            venvs=list(answer["venvs"]),
            bytes=answer.get("bytes", 0),
            inodes=answer.get("inodes", 0),
        )
        for host, answer in answers.items()
    ]
    return Pruned(dry_run=dry_run, keep=run.topology.settings.keep, hosts=hosts)


def make_room(run: Run, host: str, protect: Sequence[str]) -> bool:
    """Removes on a host whose disk is full what `keep` no longer covers; whether anything went.

    Args:
        protect: releases that stay whatever `keep` says.
    """
    request = wire.Prune(site=run.site(host), keep=run.topology.settings.keep, protect=list(protect), weigh=True)
    answer = run.call(host, wire.PRUNE, request, step="prune")
    warn_of_remains(run, host, answer)
    if answer["removed"] or answer["venvs"]:
        line = f"the disk is full: removed {_what(answer)}, which keep: {run.topology.settings.keep} no longer covers"
        run.bus.emit(Output(line, host=host, step="prune"))
        return True
    return False


def _ask(run: Run, *, dry_run: bool) -> dict[str, wire.Pruned]:
    keep = run.topology.settings.keep
    return run.run_on_hosts(
        run.web,
        wire.PRUNE,
        lambda host: wire.Prune(site=run.site(host), keep=keep, protect=[], weigh=True, dry_run=dry_run),
        step="prune",
    )


def _report(run: Run, answers: Mapping[str, wire.Pruned], verb: str) -> None:
    keep = run.topology.settings.keep
    changed = False
    for host, answer in answers.items():
        removals = [
            *(f"release {release}" for release in answer["removed"]),
            *(f"virtualenv {key}" for key in answer["venvs"]),
        ]
        changed = changed or bool(removals)
        for removal in removals:
            run.bus.emit(Output(f"{verb} {removal}", host=host, step="prune"))
        nothing = (
            "nothing was removed" if answer.get("failed") else f"nothing to remove: keep: {keep} covers every release"
        )
        total = f"{verb} {_what(answer)}" if removals else nothing
        warn_of_remains(run, host, answer)
        run.bus.emit(Output(total, host=host, step="prune"))
        run.record.host(host, "changed" if removals and verb == "removed" else "unchanged")
    run.record.outcome = "succeeded" if changed and verb == "removed" else "unchanged"


def _what(answer: wire.Pruned) -> str:
    """`2 releases and 1 virtualenv (54.1 MB, 1204 files)`."""
    releases, venvs = len(answer["removed"]), len(answer["venvs"])
    what = f"{releases} release{'s' * (releases != 1)} and {venvs} virtualenv{'s' * (venvs != 1)}"
    return f"{what} ({answer.get('bytes', 0) / 1e6:.1f} MB, {answer.get('inodes', 0)} files)"
