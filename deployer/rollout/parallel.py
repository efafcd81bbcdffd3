"""The same work on many hosts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from deployer.errors import DeployError

T = TypeVar("T")
AT_ONCE = 64


def map_hosts(hosts: Sequence[str], work: Callable[[str], T]) -> tuple[dict[str, T], dict[str, DeployError]]:
    """`work(host)` for every host, at most 64 at a time. Waits for all of them.

    Returns the answers of those that ended well, and the DeployErrors of the others; any other exception is raised.
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
            except DeployError as error:
                failed[host] = error
    return done, failed
