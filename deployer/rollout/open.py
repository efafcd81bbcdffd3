"""Opens the fleet for one run: connections to every host, all at once, or none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deployer.events import Bus, RunStarted
from deployer.remote.fleet import Fleet
from deployer.rollout.project import Project
from deployer.rollout.record import Record
from deployer.rollout.run import Run


@contextmanager
def opened(project: Project, bus: Bus, record: Record, command: str, stop: threading.Event) -> Iterator[Run]:
    """A run with an agent on every host; closed at the end, whatever happens.

    Raises UnreachableError that names every host that could not be reached; nothing was changed then.
    """
    bus.emit(RunStarted(command, project.topology.settings.app, project.env, project.who))
    topology = project.topology
    with Fleet.open(topology.hosts, sudo_password=project.sudo_password, identity=project.who) as fleet:
        yield Run(topology, fleet, bus, record, project.who, stop)
