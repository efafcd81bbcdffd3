"""The same work on many hosts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from deployer.errors import DeployError, ProgramFault

T = TypeVar("T")
S = TypeVar("S", bound="OnHost")
AT_ONCE = 64


class OnHost(Protocol):
    """Something that is done on one host."""

    @property
    def host(self) -> str:
        """The host's name."""


def by_host(steps: Iterable[S]) -> dict[str, list[S]]:
    """The steps of each host, hosts and steps in the order given."""
    hosts: dict[str, list[S]] = {}
    for step in steps:
        hosts.setdefault(step.host, []).append(step)
    return hosts


def map_hosts(hosts: Sequence[str], work: Callable[[str], T]) -> tuple[dict[str, T], dict[str, DeployError]]:
    """`work(host)` for every host, at most 64 at a time. Waits for all of them.

    Returns the answers of those that ended well, and the errors of the others: a fault of the program on one host
    must not hide what became of the others, so it is a ProgramFault.
    """
    done: dict[str, T] = {}
    failed: dict[str, DeployError] = {}
    if not hosts:
        return done, failed
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(hosts)), thread_name_prefix="host") as pool:
        futures = {host: pool.submit(work, host) for host in hosts}
        for host, future in futures.items():
            try:
                done[host] = future.result()
            except Exception as error:
                failed[host] = ProgramFault.of(error)
    return done, failed
