"""`resource.apply`: makes a host as a list of resources says, or leaves its files as they were and says why.

First everything is compared, and one refusal stops it all before anything is changed. Then packages, users, and the
rest in the order given; then services, units at boot, and handlers once, at the end. When something fails, files and
links are put back, and the handlers that had run are run again on the old state.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from deployer.agent.model.layout import OnSite, Site
from deployer.agent.model.messages import resources as wire
from deployer.agent.model.resources import BootUnit, Listener, Package, Resource, Service, User, all_from_wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.provisioning import boot_units, packages, services, users
from deployer.agent.provisioning.changes import Change, FileChanges, Refusal
from deployer.agent.provisioning.managed_files import Commands, ManagedFiles
from deployer.agent.provisioning.snapshot import PARTS, UNITS, Snapshot
from deployer.agent.site import ownership
from deployer.agent.site.lock import host_lock
from deployer.agent.system import disk, listeners, process_runner

_HANDLER_TIMEOUT = 120.0  # seconds for one command of a handler


@operation(wire.APPLY)
def apply(ctx: Context, request: wire.ApplyResources) -> wire.ResourcesApplied:
    """Makes the host as the resources say, or leaves its files as they were.

    With `keep`, files stay beside as they were before that run, until `resource.restore` or `resource.settle`. A
    `listener` is a UNIX socket at which a program is to answer; where none does, its handlers run.

    Raises:
        OpError: `refused` (something is there that deploy did not make, or that was changed since) and `too_old` (a
            package): nothing was changed. `untrusted_link` (a path leads through a link in a folder that others than
            root may write): nothing was changed. `invalid` (a handler failed), `masked` (a boot unit), `failed` (a
            package, user, service, boot unit or write): files were put back. `not_ours`, `host_busy`.
    """
    site = Site.of(request)
    ownership.require_ours(site)
    dry_run = bool(request.get("dry_run"))
    held: AbstractContextManager[Any] = nullcontext() if dry_run else host_lock(site)
    with held:
        work = _Work(
            ctx,
            site,
            all_from_wire(request["resources"]),
            request.get("handlers", {}),
            replace=request.get("replace", False),
            keep=request.get("keep", ""),
            part=request.get("part", UNITS),
        )
        comparison = work.compare()
        if dry_run:
            return comparison
        work.refuse_if(comparison["refused"])
        return work.carry_out()


@operation(wire.RESTORE)
def restore(ctx: Context, request: wire.RestoreResources) -> wire.ResourcesRestored:
    """Makes files what they were before that run changed them with `keep`; none for another run.

    Raises:
        OpError: `invalid`, `failed`, `not_ours`, `host_busy`, with the files as they are.
    """
    site = Site.of(request)
    ownership.require_ours(site)
    run, new = str(request["run"]), bool(request.get("new", True))
    return {"changed": [path for part in request["parts"] for path in put_back(ctx, site, run, part, new=new)]}


def put_back(ctx: Context, site: Site, run: str, part: str, *, new: bool = True, bound: float = 60.0) -> list[str]:
    """Makes a part of the host's files what they were before that run changed them; returns the paths.

    `new` false: files that were not there before stay, and what was kept is kept on, for the run's end to decide.
    `bound` are the seconds to wait for the host's lock.
    """
    if Snapshot(site, part).run != run:
        return []
    with host_lock(site, bound):
        kept = Snapshot(site, part)
        steps = kept.back(new=new) if kept.run == run else []
        if steps:
            _Work(ctx, site, [], kept.handlers).put_back(steps)
        if new:
            kept.forget()
    return [step.name for step in steps]


@operation(wire.SETTLE)
def settle(ctx: Context, request: OnSite) -> wire.ResourcesSettled:
    """Forgets what files were before: what serves has proven itself with the present ones.

    Raises:
        OpError: `host_busy`.
    """
    site = Site.of(request)
    with host_lock(site):
        forgotten = [Snapshot(site, part).forget() for part in PARTS]
    return {"changed": any(forgotten)}


class _Work:
    """One application of a list of resources."""

    def __init__(
        self,
        ctx: Context,
        site: Site,
        resources: list[Resource],
        handlers: dict[str, Commands],
        *,
        replace: bool = False,
        keep: str = "",
        part: str = UNITS,
    ) -> None:
        self._ctx = ctx
        self._site = site
        self._replace = replace
        self._keep = keep
        self._part = part
        self._resources = resources
        self._handlers = handlers
        self._created = ManagedFiles(site)
        self._paths_before = dict(self._created.paths)

    def compare(self) -> wire.ResourcesApplied:
        """What would be changed and what is refused; changes nothing."""
        steps = self._system_steps()
        placed, refusals, _ = self._place()
        steps += placed + self._service_steps()
        notified = self._notified(steps)
        return {
            "changed": [step.as_dict() for step in steps],
            "refused": [refusal.as_dict() for refusal in refusals],
            "handlers": list(notified),
        }

    def refuse_if(self, refused: list[wire.ResourceRefusal]) -> None:
        """Raises OpError `refused` unless the list is empty."""
        if not refused:
            return
        first = refused[0]
        more = " (and %d more)" % (len(refused) - 1) if len(refused) > 1 else ""
        raise OpError(
            "refused",
            f"{first['name']}: {first['why']}{more}",
            first["hint"] or "look at the diff; --replace takes it over",
            detail={"refused": refused},
        )

    def carry_out(self) -> wire.ResourcesApplied:
        """Changes what must be changed. Packages and users come first: files belong to users and replace defaults."""
        done = self._system_steps()
        for step in done:
            step.do()
        # Compared again, since a package that was just installed brought files of its own.
        placed, refusals, adopted = self._place()
        self.refuse_if([refusal.as_dict() for refusal in refusals])
        if self._keep:
            Snapshot(self._site, self._part).keep(self._keep, placed, self._notified(placed))
        self._remember(placed, adopted)
        started = self._service_steps()
        ran = self._change(placed, started)
        return {"changed": [step.as_dict() for step in done + placed + started], "refused": [], "handlers": ran}

    def put_back(self, steps: list[Change]) -> None:
        """Makes files what they were, which is ours to do: nobody is asked."""
        self._remember(steps, {})
        self._change(steps, [])

    def _change(self, steps: list[Change], to_start: list[Change]) -> list[str]:
        """Files, services, handlers (which talk to services); puts files back on failure. Returns the handlers run."""
        done: list[Change] = []
        ran: list[str] = []
        try:
            for step in steps:
                done.append(step)
                self._do(step)
            for service in to_start:
                service.do()
            for name, commands in self._notified(steps).items():
                ran.append(name)
                self._handle(name, commands)
        except OpError:
            self._put_back(done, ran)
            raise
        for step in steps:
            if step.new is not None:
                self._created.settle(step.name, step.new)
        self._created.pending = {}
        if steps or ran:
            self._created.save()
        return ran

    def _do(self, step: Change) -> None:
        self._ctx.progress(f"{step.action} {step.name}")
        try:
            step.do()
        except (OSError, KeyError) as error:
            raise _failed(error, step.name, f"{step.name} could not be written: {error}") from error

    def _handle(self, name: str, commands: Commands) -> None:
        for command in commands:
            done = process_runner.run(command, timeout=_HANDLER_TIMEOUT, merge_stderr=True)
            if not done.ok:
                words = " ".join(word.partition("\n")[0] for word in command[:6])
                message = f"{name}: {words}: {done.why}; files were put back"
                raise OpError("invalid", message, log=done.log(), detail={"handler": name, "exit": done.exit})

    def _put_back(self, steps: list[Change], ran: list[str]) -> None:
        """Restores what the steps changed. What cannot be restored stays recorded as ours."""
        stuck: dict[str, list[str]] = {}
        for step in reversed(steps):
            try:
                step.undo()
            except OSError as error:
                stuck[step.name] = self._created.paths.get(step.name, [])
                self._ctx.progress(f"{step.name} could not be put back: {error}")
        self._created.paths = {**self._paths_before, **stuck}
        for name in ran:
            for command in self._handlers.get(name, self._created.pending.get(name, [])):
                if not process_runner.run(command, timeout=_HANDLER_TIMEOUT).ok:
                    break
        self._created.pending = {}
        self._created.save()

    def _remember(self, steps: list[Change], adopted: dict[str, str]) -> None:
        """Writes the intent down before anything is changed, so that a crash leaves nothing that seems a stranger's."""
        before = (dict(self._created.paths), dict(self._created.pending))
        for path, digest in adopted.items():
            self._created.settle(path, digest)
        self._paths_before = dict(self._created.paths)
        for step in steps:
            if step.new:
                self._created.intend(step.name, step.new)
        self._created.pending = self._notified(steps)
        if before != (self._created.paths, self._created.pending):
            self._created.save()

    def _notified(self, steps: list[Change]) -> dict[str, Commands]:
        """Handlers to run: what a dead run left to do, then ours in the order of the map."""
        names = {name for step in steps for name in step.notify}
        unknown = names - set(self._handlers)
        if unknown:
            raise OpError("failed", f"the request has no handler {', '.join(sorted(unknown))}")
        left = {name: argvs for name, argvs in self._created.pending.items() if name not in self._handlers}
        due = {
            name: [list(argv) for argv in argvs]
            for name, argvs in self._handlers.items()
            if name in names or name in self._created.pending
        }
        return {**left, **due}

    def _place(self) -> tuple[list[Change], list[Refusal], dict[str, str]]:
        placing = FileChanges(self._site, self._created, self._replace)
        steps: list[Change] = []
        refusals: list[Refusal] = []
        for resource in self._resources:
            if isinstance(resource, (Package, User, Service, BootUnit)):
                continue
            if isinstance(resource, Listener):
                if listeners.is_absent(resource.path):
                    steps.append(Change("listener", resource.path, "open", lambda: None, notify=resource.notify))
                continue
            try:
                change: Change | Refusal | None = placing.plan(resource)
            except OSError as error:
                raise _failed(error, resource.path, f"{resource.path} cannot be looked at: {error}") from error
            if isinstance(change, Refusal):
                refusals.append(change)
            elif change is not None:
                steps.append(change)
        return steps, refusals, placing.adopted

    def _system_steps(self) -> list[Change]:
        requested_packages = [resource for resource in self._resources if isinstance(resource, Package)]
        absent = packages.missing(list(dict.fromkeys(package.name for package in requested_packages)))
        self._require_versions(requested_packages)
        steps = []
        if absent:
            first = Change("package", absent[0], "install", lambda: self._install(absent, requested_packages))
            steps = [first] + [Change("package", name, "install", lambda: None) for name in absent[1:]]
        for resource in self._resources:
            if isinstance(resource, User) and not users.exists(resource.name):
                steps.append(Change("user", resource.name, "create", _creator(resource)))
        return steps

    def _install(self, absent: list[str], requested_packages: list[Package]) -> None:
        packages.install(absent, self._ctx.output)
        self._require_versions(requested_packages)  # package lists that were not there yet can tell only now

    @staticmethod
    def _require_versions(requested_packages: list[Package]) -> None:
        for package in requested_packages:
            if package.at_least:
                packages.require(package.name, package.at_least)

    def _service_steps(self) -> list[Change]:
        steps: list[Change] = []
        for resource in self._resources:
            if isinstance(resource, Service) and resource.name not in [step.name for step in steps]:
                action = services.action(self._site, resource)
                if action:
                    steps.append(Change("service", resource.name, action, _starter(self._site, resource)))
            elif isinstance(resource, BootUnit):
                action = boot_units.action(resource)
                if action:
                    steps.append(Change("boot unit", resource.name, action, partial(boot_units.enable, resource)))
        return steps


def _failed(error: Exception, path: str, message: str) -> OpError:
    """The error for a path that could not be looked at or written: in the words of `disk` where it knows them."""
    known = disk.explain(error, "resource.apply", path) if isinstance(error, OSError) else None
    return known or OpError("failed", message)


def _creator(user: User) -> Any:
    return lambda: users.create(user)


def _starter(site: Site, service: Service) -> Any:
    return lambda: services.ensure(site, service)
