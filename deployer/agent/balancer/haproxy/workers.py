"""Older HAProxy workers: they finish what they had begun before a reload, and the new worker does not count it.

Whoever drains a server soon after a reload would otherwise cut those requests off. What an older worker still has open
is read from `/proc`: its established connections, counted by where they lead.
"""

from __future__ import annotations

from deployer.agent.balancer.haproxy.reload_tool import worker
from deployer.agent.system import procfs
from deployer.agent.system.tcp_connections import children, held_by


def connections(path: str) -> dict[str, int]:
    """`ADDRESS:PORT` → how many connections older workers of the HAProxy at this stats socket hold to it."""
    now = worker(path)
    return held_by(older(now) if now else ())


def older(now: int) -> list[int]:
    """The other workers of the master whose worker `now` is; none when it has no master."""
    current = procfs.process(now)
    program = procfs.link(now, "exe")
    if current is None or program is None or procfs.link(current.ppid, "exe") != program:
        return []
    return [pid for pid in children(current.ppid) if pid != now and procfs.link(pid, "exe") == program]
