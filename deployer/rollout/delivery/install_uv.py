"""uv comes to hosts that lack it: the one beside this program, once for each host and version."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.agent.model.messages.dependencies import FIND_TOOL, PUT_TOOL, FindTool
from deployer.artifact.dependencies.host_python import HostPython
from deployer.artifact.dependencies.python import Locked
from deployer.artifact.dependencies.uv_binary import UvBinary, uv_here
from deployer.errors import DeployError, NotReadyError
from deployer.remote.errors import AgentError
from deployer.rollout.delivery.put_tool import put_tool
from deployer.rollout.run.run import Run

STEP = "uv"


class UvInstaller:
    """What a run gives to hosts.

    Args:
        insisted: `installer: uv`; without, a host that cannot have uv makes do with pip.
    """

    def __init__(self, run: Run, insisted: bool) -> None:
        self._run = run
        self._insisted = insisted
        self._binary: UvBinary | None = uv_here()

    def fits(self, host: HostPython) -> bool:
        """Whether there is a uv here that such a host can run."""
        return self._binary is not None and self._binary.runs_on(host)

    def to(self, wanted: Mapping[str, Locked]) -> dict[str, Locked]:
        """The same for every host, with the path of a uv that runs there; with pip where it does not.

        What has its virtualenv already needs no uv and gets none.

        Raises:
            NotReadyError: `installer: uv`, and a host cannot have it. What a lost session raises.
        """
        lacking = [host for host, locked in wanted.items() if locked.host.installer == "uv" and not locked.host.uv]
        if not lacking or self._binary is None:
            return dict(wanted)
        run, binary = self._run, self._binary
        answers = run.run_on_hosts(
            lacking,
            FIND_TOOL,
            lambda host: FindTool(
                site=run.site(host), name=binary.name, version=binary.version, sha=binary.sha256, venv=wanted[host].key
            ),
            step=STEP,
        )
        paths = {host: path for host, answer in answers.items() if (path := answer["path"])}
        needy = [host for host, answer in answers.items() if answer["needed"] and not answer["path"]]
        failed: dict[str, DeployError] = {}
        if needy:
            put, failed = self._put(self._binary, needy)
            paths |= put
        self._explain(failed)
        with_uv = {host: wanted[host].installed_by("uv", path) for host, path in paths.items()}
        return {**wanted, **with_uv, **{host: wanted[host].installed_by("pip") for host in failed}}

    def _put(self, binary: UvBinary, hosts: list[str]) -> tuple[dict[str, str], dict[str, DeployError]]:
        with self._run.step(STEP, detail=f"uv {binary.version} for {len(hosts)} hosts") as note:
            packed = binary.packed
            done, failed = self._run.try_on_hosts(
                hosts, PUT_TOOL, lambda host: put_tool(self._run, host, binary), body=lambda host: packed, step=STEP
            )
            note.detail = (
                f"uv {binary.version} given to {len(done)} of {len(hosts)} hosts ({len(packed) >> 20} MB each)"
            )
        return {host: answer["path"] for host, answer in done.items()}, failed

    def _explain(self, failed: Mapping[str, DeployError]) -> None:
        """Says once for all of them that pip installs there; raises what pip cannot make up for."""
        if not failed:
            return
        for error in failed.values():
            if not isinstance(error, AgentError) or error.code == "no_space":
                raise error
        first = next(iter(failed.values()))
        if self._insisted:
            raise NotReadyError(
                "python.installer is uv, but this host cannot have uv",
                host=first.host,
                step=STEP,
                cause=first.message,
                log=first.log,
                hint="install uv there, or set python: {installer: auto} in deploy.yaml",
            )
        self._run.warn(f"pip installs on {', '.join(failed)}, since uv could not be given: {first.message}")
