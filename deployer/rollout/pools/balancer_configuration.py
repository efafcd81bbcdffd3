"""Whether the balancers would load what lies on their disks, and who can mend it where they would not."""

from __future__ import annotations

import re

from deployer.agent.model.messages.host import RUN, RunCommand
from deployer.agent.model.resources import Directory, File
from deployer.errors import NotReadyError
from deployer.plan.topology import BalancerHost
from deployer.rollout.run.run import Run

_PATH = re.compile(r"(/[^\s\[\]:\"']+\.[a-z]+)(?=[\]:\s\"']|$)", re.MULTILINE)
_OWNER = re.compile(r"# (\S+ in \S+)$")


def require_valid_balancers(run: Run) -> None:
    """NotReadyError when a balancer would refuse its own configuration: seen now, not by a reload in the middle."""
    for balancer in run.topology.balancers if run.topology.settings.balancer.manage else ():
        argv = run.topology.balancer_adapter.check(balancer.site, systemd=balancer.systemd)
        if not argv:
            continue
        done = run.call(balancer.name, RUN, RunCommand(command=list(argv), timeout=30.0), step="survey")
        if done["exit"] != 0:
            output = done["stderr"] or done["stdout"]
            raise NotReadyError(
                f"{run.topology.kind} does not take its configuration",
                host=balancer.name,
                step="survey",
                log=output.splitlines()[-20:],
                hint=_way_to_mend(run, balancer, output),
                code="balancer_configuration",
            )


def _way_to_mend(run: Run, balancer: BalancerHost, output: str) -> str:
    """What to do about the file that the balancer names: it is this app's, another app's, or somebody else's."""
    topology, paths = run.topology, _PATH.findall(output)
    adapter = topology.balancer_adapter
    base = adapter.base(balancer.site, systemd=balancer.systemd)
    app_paths = {
        resource.path for resource in (*base, *adapter.resources(topology.pool(balancer))) if isinstance(resource, File)
    }
    for path in paths:
        if path in app_paths:
            return f"deploy setup {topology.env} --replace writes {path} anew"
    folders = tuple(f"{resource.path}/" for resource in base if isinstance(resource, Directory))
    for path in paths:
        if path.startswith(folders):
            owner = _owner(run, balancer, path)
            app, _, env = owner.partition(" in ")
            if env:
                return f"in the folder of {app}: deploy setup {env} --replace, which writes {path} anew"
            return f"{path} was written by deploy, and for whom is not in its first line: look at it there"
    where = f"{paths[0]} on {balancer.name}" if paths else f"it on {balancer.name}"
    return f"mend {where}: deploy did not write it, and only ever writes files of its own"


def _owner(run: Run, balancer: BalancerHost, path: str) -> str:
    """The app that a file of our folder is of, by its first line: `shop in prod`; empty where that does not say."""
    argv = ["head", "-n", "1", path]
    done = run.call(balancer.name, RUN, RunCommand(command=argv, timeout=30.0), step="survey")
    match = _OWNER.search(done["stdout"].strip())
    return match.group(1) if match else ""
