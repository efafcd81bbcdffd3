"""The exact versions that are installed on every host, and by what."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.agent.model.messages import dependencies as wire
from deployer.artifact.dependencies import python
from deployer.artifact.dependencies.host_python import HostPython, choose_installer
from deployer.artifact.kept_versions import KeptVersions
from deployer.cache import cache
from deployer.errors import RolloutError
from deployer.plan.facts import Facts
from deployer.remote.errors import AgentError
from deployer.rollout.delivery.install_uv import UvInstaller
from deployer.rollout.delivery.interpreter import interpreter
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run


class Versions:
    """Settles requirements for the hosts of a run.

    Args:
        hidden: the values of `python.secrets`.
        proven: exact requirements of the same code elsewhere, to be taken as they are.
        kept: what the current release was resolved to.
    """

    def __init__(
        self,
        run: Run,
        project: Project,
        facts: Facts,
        hidden: Mapping[str, str],
        proven: tuple[str, ...],
        kept: KeptVersions,
    ) -> None:
        self._run = run
        self._facts = facts
        self._hidden = hidden
        self._proven = proven
        self._kept = kept
        self._wish = project.topology.settings.python
        self._giving = UvInstaller(run, insisted=self._wish.installer == "uv")

    def settled(self, wanted: python.Dependencies, hosts: tuple[str, ...]) -> dict[str, python.Locked]:
        """Exact versions for each host; hosts with the same Python share one answer. A host without uv is given it."""
        inspections = self._inspected(hosts)
        known: dict[HostPython, python.Locked] = {}
        locked: dict[str, python.Locked] = {}
        for host in hosts:
            host_python = self._described(host, inspections[host])
            if host_python not in known:
                known[host_python] = self._lock(wanted, host_python, host)
            locked[host] = known[host_python]
        return self._giving.to(locked)

    def find_virtualenv_keys(self, wanted: python.Dependencies, hosts: tuple[str, ...]) -> dict[str, str]:
        """Host → the key of its virtualenv, of those whose versions can be settled from here. Changes nothing there."""
        inspections = self._inspected(hosts)
        locked = {
            host: python.lock(
                wanted, self._described(host, inspections[host]), cache(), self._hidden, self._proven, self._kept
            )
            for host in hosts
        }
        return {host: result.key for host, result in locked.items() if isinstance(result, python.Locked)}

    def _inspected(self, hosts: tuple[str, ...]) -> dict[str, wire.PythonFacts]:
        paths = {host: interpreter(self._run.topology, self._facts, host) for host in hosts}
        return self._run.run_on_hosts(
            hosts, wire.INSPECT, lambda host: wire.InspectPython(python=paths[host]), step="resolve"
        )

    def _described(self, host: str, inspected: wire.PythonFacts) -> HostPython:
        uv = self._facts[host].tools.get("uv")
        givable = self._giving.fits(HostPython.of(inspected, "none"))
        return HostPython.of(inspected, choose_installer(self._wish.installer, uv, host, givable), uv)

    def _lock(self, wanted: python.Dependencies, own: HostPython, host: str) -> python.Locked:
        locked = python.lock(wanted, own, cache(), self._hidden, self._proven, self._kept)
        if isinstance(locked, python.Locked):
            return locked
        self._run.warn(f"{host} resolves the versions, since this machine cannot: {locked.why}", host=host)
        able = self._giving.to({host: locked.draft})[host].host
        spec: wire.VenvSpec = {
            **locked.spec,
            "installer": able.installer,
            "uv": able.uv,
            "env": dict(self._wish.env),
            "secrets": dict(self._hidden),
        }
        request = wire.Resolve(site=self._run.site(host), venv=spec)
        try:
            answer = self._run.call(host, wire.RESOLVE, request, step="resolve")
        except AgentError as error:
            if error.code != "no_versions":
                raise
            raise _unfitting(error, wanted.kind) from error
        return locked.settled(answer["requirements"], host)


def _unfitting(error: AgentError, file: str) -> RolloutError:
    """The error for requirements that no versions satisfy, which is the fault of their file and of no host."""
    made = error.as_kind(RolloutError)
    made.host, made.file = None, None if file == "none" else file
    return made
