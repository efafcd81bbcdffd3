"""The app's secrets on the hosts: one file each, written only where it differs.

Balancer hosts have them where the user's own commands run there (`balancer.kind: command`).
"""

from __future__ import annotations

from collections.abc import Mapping

from deployer.artifact.secretfile import render
from deployer.rollout.run import Run


def write(run: Run, values: Mapping[str, str]) -> list[str]:
    """Writes the secrets on every host that needs them; returns the hosts where they changed."""
    return _send(run, [*run.web, *_commanding(run)], values, dry_run=False)


def write_for_commands(run: Run, values: Mapping[str, str]) -> None:
    """Writes the secrets where the balancers' commands run, and nowhere else."""
    _send(run, _commanding(run), values, dry_run=False)


def differing(run: Run, values: Mapping[str, str]) -> list[str]:
    """The web hosts whose secrets are not these. Changes nothing."""
    return _send(run, run.web, values, dry_run=True)


def _commanding(run: Run) -> list[str]:
    web = {host.name for host in run.topology.everywhere}
    return [name for name in run.balancers if run.topology.kind == "command" and name not in web]


def _send(run: Run, hosts: list[str], values: Mapping[str, str], *, dry_run: bool) -> list[str]:
    text = render(values).encode()
    answers = run.each(hosts, "secrets.write", {"dry_run": dry_run}, body=lambda host: text, step="secrets")
    return [host for host, answer in answers.items() if answer["changed"]]
