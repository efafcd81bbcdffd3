"""The app's secrets on the hosts: one file each, written only where it differs.

Balancer hosts have them where the driver of their balancer uses them (`balancer.kind: command`).
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from deployer.agent.model.messages import secrets as wire
from deployer.artifact.secretfile import render
from deployer.rollout.run.run import Run


def write(run: Run, values: Mapping[str, str]) -> list[str]:
    """Writes the secrets on every host that needs them; returns the hosts where they changed.

    What they were before is kept there until the run's end: `settle`, or `put_back`.
    """
    return _send(run, _everywhere(run), values, keep=True)


def put_back(run: Run) -> None:
    """Makes the secrets what they were before the run, on every host that is there; nothing raises."""
    _put_back(run, _everywhere(run))


def _put_back(run: Run, hosts: list[str]) -> None:
    _, failed = run.try_on_hosts(hosts, wire.RESTORE, run.on_site, step="secrets")
    for host, error in failed.items():
        run.warn(f"its secrets are those of the run that failed: {error.message}", host=host)


def settle(run: Run, *, behind: Collection[str]) -> None:
    """What serves has proven itself with the secrets of the run; where it stayed `behind` they are those of before.

    Nothing raises.
    """
    hosts = [name for name in _everywhere(run) if name not in behind]
    run.try_on_hosts(hosts, wire.SETTLE, run.on_site, step="secrets")
    _put_back(run, [name for name in _everywhere(run) if name in behind])


@contextmanager
def put_back_on_failure(run: Run) -> Iterator[None]:
    """What fails in the block leaves no secrets behind that nothing has proven itself with."""
    try:
        yield
    except Exception:
        put_back(run)
        raise


def write_for_commands(run: Run, values: Mapping[str, str]) -> None:
    """Writes the secrets where the balancers' commands run, and nowhere else."""
    _send(run, _commanding(run), values)


def differing(run: Run, values: Mapping[str, str]) -> list[str]:
    """The web hosts whose secrets are not these. Changes nothing, and sends no value to a host."""
    text = render(values).encode()
    answers = run.run_on_hosts(run.web, wire.DIGEST, run.on_site, step="secrets")
    return [host for host, answer in answers.items() if answer["digest"] != digest_of(answer["key"], text)]


def digest_of(key: str, text: bytes) -> str:
    """The digest that `secrets.digest` gives for this text with this key."""
    return hmac.new(key.encode("utf-8", "replace"), text, "sha256").hexdigest()


def _everywhere(run: Run) -> list[str]:
    return [*run.web, *_commanding(run)]


def _commanding(run: Run) -> list[str]:
    if not run.topology.balancers_use_secrets:
        return []
    web = {host.name for host in run.topology.everywhere}
    return [name for name in run.balancers if name not in web]


def _send(run: Run, hosts: list[str], values: Mapping[str, str], *, keep: bool = False) -> list[str]:
    text = render(values).encode()
    answers = run.run_on_hosts(
        hosts,
        wire.WRITE,
        lambda host: wire.WriteSecrets(site=run.site(host), keep=keep),
        body=lambda host: text,
        step="secrets",
    )
    return [host for host, answer in answers.items() if answer["changed"]]
