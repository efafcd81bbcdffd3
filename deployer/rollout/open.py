"""Opens the fleet for one run: connections to every host, all at once, or none."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deployer.errors import DeployError, NotReadyError
from deployer.events import Bus, RunStarted
from deployer.remote.fleet import Fleet
from deployer.rollout.endings import refused_as
from deployer.rollout.project import Project
from deployer.rollout.record import Record
from deployer.rollout.run import Run


@contextmanager
def opened(project: Project, bus: Bus, record: Record, command: str, stop: threading.Event) -> Iterator[Run]:
    """A run with an agent on every host; closed at the end, whatever happens.

    Raises UnreachableError that names every host that could not be reached; nothing was changed then. What a host
    refuses in the block is a NotReadyError, unless the block says that something was changed by then.
    """
    bus.emit(RunStarted(command, project.topology.settings.app, project.env, project.who))
    topology = project.topology
    try:
        with (
            refused_as(NotReadyError, f"deploy doctor {project.env} looks for everything that is wrong"),
            Fleet.open(topology.hosts, sudo_password=project.sudo_password, identity=project.who) as fleet,
        ):
            yield Run(topology, fleet, bus, record, project.who, stop)
    except DeployError as error:
        if error.hint:  # the rooms below do not know the environment's name
            error.hint = re.sub(r"\bENV\b", project.env, error.hint)
        raise
