"""Opens the fleet for one run: connections to every host, all at once, or none."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deployer.errors import DeployError, NotReadyError
from deployer.events import Bus
from deployer.remote.fleet import Fleet
from deployer.rollout.run import unreachable, unwritable
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.long_step import long_step
from deployer.rollout.run.outcomes import doctor_hint, translate_errors
from deployer.rollout.run.project import Project
from deployer.rollout.run.recording import announce
from deployer.rollout.run.run import Run
from deployer.verify import Checker


@contextmanager
def open_run(
    project: Project,
    invocation: Invocation,
    *,
    partial: bool = False,
    rolls: bool = False,
) -> Iterator[Run]:
    """A run with an agent on every host; closed at the end, whatever happens.

    With `partial` the block runs with the hosts that answer; those that do not are `lost` and `absent` in it, and are
    the error after it, which says how to go on without them. With `rolls` (for commands that change
    instances) it runs without web hosts that are out of reach, as far as `rolling.max_failures` goes: they are
    `absent`, and told of before it.

    Raises UnreachableError that names every host that could not be reached; nothing was changed then. What a host
    refuses in the block is a NotReadyError, unless the block says that something was changed by then.
    """
    announce(project, invocation)
    topology, record = project.topology, invocation.record
    try:
        with (
            translate_errors(NotReadyError, doctor_hint(project.env)),
            _connected(project, invocation.bus, partial=partial or rolls) as fleet,
            Checker(stop=invocation.stop) as checker,
        ):
            run = Run(topology, fleet, invocation.bus, record, project.who, invocation.stop, checker=checker)
            if rolls:
                run.topology, run.absent = unreachable.without(topology, fleet.failures, record.command), fleet.failures
                unreachable.report_unreachable(run)
                yield run
                return
            run.lost, run.absent = set(fleet.failures), fleet.failures
            for name in fleet.failures:
                record.host(name, "unreachable")
            yield run
            if fleet.failures:
                raise unreachable.unreachable(topology, fleet.failures, record.command)
    except DeployError as error:
        error.hint = unwritable.hint_for(error, topology) or error.hint
        if error.hint:  # the rooms below do not know the environment's name
            error.hint = re.sub(r"\bENV\b", project.env, error.hint)
        raise


def kill_with(stop: threading.Event, fleet: Fleet) -> None:
    """Cuts the sessions as soon as `stop` is set, for commands that hold nothing on the hosts.

    What runs there ends with its session. A goodbye would wait for the operation in hand.
    """

    def watch() -> None:
        stop.wait()
        fleet.kill()

    threading.Thread(target=watch, name="stop", daemon=True).start()


def _connected(project: Project, bus: Bus, *, partial: bool) -> Fleet:
    with long_step(bus, "connect"):
        return Fleet.open(
            project.topology.hosts,
            sudo_password=project.sudo_password,
            identity=project.who,
            balancer=project.topology.kind,
            partial=partial,
        )
