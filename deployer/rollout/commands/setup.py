"""`deploy setup`: prepares hosts once. What it did not create it leaves alone, unless a person says `--replace`."""

from __future__ import annotations

from deployer.agent.model.messages.site import JOIN
from deployer.events import Bus, Output
from deployer.plan.shared_folders import owners
from deployer.rollout.delivery.install_caddy import give_caddy
from deployer.rollout.delivery.inventory_remarks import inventory_remarks
from deployer.rollout.pools import certificates
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.locks import lock_site
from deployer.rollout.run.project import Project, with_certificate
from deployer.rollout.run.recording import recorded
from deployer.rollout.steps import secrets, takeover
from deployer.rollout.steps.resources import apply, asks_leniently, differences, for_setup
from deployer.rollout.steps.survey import survey, with_configured_pools
from deployer.rollout.steps.takeover import Adoption


@recorded
def setup(project: Project, invocation: Invocation, *, replace: bool) -> None:
    """Packages, users, folders, supervisor, balancer, on every host. Unchanged when all is there.

    Raises NotReadyError for what is there and is not ours, with the diff; nothing was changed then.
    """
    project = with_certificate(project)
    values = project.secrets() if project.topology.balancers_use_secrets else {}
    with open_run(project, invocation) as run:
        for remark in (*certificates.remarks(run.topology), *inventory_remarks(run.topology)):
            run.warn(remark)
        facts = with_configured_pools(run, survey(run))
        adoption = takeover.find_takeover(run, facts, anew=replace)
        if adoption and not replace:
            raise adoption.refused(run.topology.env)
        give_caddy(run, facts)
        wishes = for_setup(project, facts, lenient=asks_leniently(run, facts, replace=replace))
        planned = differences(run, wishes, replace=replace)
        if not planned:
            invocation.record.outcome = "unchanged"
        with run.step("setup", detail=f"{len(planned)} changes") as note:
            changes = apply(run, wishes, replace=replace) if planned else []
            note.detail = f"{len(changes)} changes"
        for change in changes:
            invocation.bus.emit(Output(f"{change.action} {change.kind} {change.name}", host=change.host, step="setup"))
        for host in run.topology.hosts:
            invocation.record.host(
                host.name, "changed" if any(change.host == host.name for change in changes) else "unchanged"
            )
        # A user that was made just now is another uid than before, on a host that kept its shared files.
        for remark in owners.remarks(run.topology, survey(run) if changes else facts):
            run.warn(remark)
        with lock_site(run):  # The site is there now, and takes a lock: a push will find it usable.
            run.run_on_hosts(run.hosts, JOIN, run.on_site, step="setup")
            if adoption:
                takeover.record(run, adoption)
                invocation.record.outcome = "succeeded"
                _tell(invocation.bus, adoption, run.topology.env)
            if run.topology.balancers_use_secrets:
                secrets.write_for_commands(run, values)


def _tell(bus: Bus, adoption: Adoption, env: str) -> None:
    for host, units in adoption.units.items():
        for unit in units:
            bus.emit(Output(f"{unit['unit']} may be retired, and serves until then", host=host, step="setup"))
    for host, front in adoption.fronts.items():
        bus.emit(Output(f"{front['path']} may be led to {front['backend']}; it is as it was", host=host, step="setup"))
        for line in str(front["diff"]).splitlines():
            bus.emit(Output(f"    {line}", host=host, step="setup"))
    bus.emit(Output(f"deploy push {env} does both, once its own instances serve", step="setup"))
