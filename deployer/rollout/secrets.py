"""The app's secrets on the hosts: one file each, written only where it differs."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.artifact.secretfile import render
from deployer.rollout.run import Run


def write(run: Run, values: Mapping[str, str]) -> list[str]:
    """Writes the secrets on every web host; returns the hosts where they changed."""
    return _send(run, values, dry_run=False)


def differing(run: Run, values: Mapping[str, str]) -> list[str]:
    """The hosts whose secrets are not these. Changes nothing."""
    return _send(run, values, dry_run=True)


def _send(run: Run, values: Mapping[str, str], *, dry_run: bool) -> list[str]:
    text = render(values).encode()
    answers = run.each(run.web, "secrets.write", {"dry_run": dry_run}, body=lambda host: text, step="secrets")
    return [host for host, answer in answers.items() if answer["changed"]]
