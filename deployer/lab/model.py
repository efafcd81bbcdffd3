"""The description of a lab, and one of its hosts as seen from outside."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypedDict

from deployer.errors import UsageError

LAB_NAME = re.compile(r"^[a-z][a-z0-9-]{0,30}$")
PACKAGE_NAME = re.compile(r"^[a-z0-9][a-z0-9+.-]+$")
MOST_HOSTS = 200
SUITES = ("bullseye", "bookworm", "trixie")
"""Debian 11, 12 and 13."""
DEFAULT_SUITE = "bookworm"
_WITHOUT_A_BALANCER = ("bullseye",)
"""Suites whose HAProxy is older than what is supported."""

Progress = Callable[[str], None]
"""Takes one line of progress, without a newline."""


class HostEntry(TypedDict):
    """How SSH reaches one host: `key` and `known_hosts` are absolute paths of files."""

    host: str
    port: int
    user: str
    key: str
    known_hosts: str


@dataclass(frozen=True)
class LabSpec:
    """What a lab should be like.

    Args:
        name: its name; also the name of the environment while it is up.
        kind: `machines` boots real systemd hosts and needs root; `processes` is one sshd and one supervisord per host.
        hosts: how many web hosts (`web1` …).
        supervisor: what supervises instances there; None: systemd, or supervisord in a lab of processes.
        balancer: what runs on the balancer hosts; `none`: there are no balancer hosts.
        balancers: how many balancer hosts (`lb1` …).
        suite: the Debian suite of the web hosts, one of SUITES (balancers: see `balancer_suite`); hosts of processes
            have this machine's own.
        reserve: Debian packages that the machines have beside the usual ones.
        kill_user_processes: machines kill what a login left running when it ends (logind's `KillUserProcesses`).

    Raises:
        UsageError: when the fields make no sense.
    """

    name: str = "lab"
    kind: Literal["machines", "processes"] = "machines"
    hosts: int = 3
    supervisor: Literal["systemd", "supervisord"] | None = None
    balancer: Literal["haproxy", "nginx", "caddy", "none"] = "haproxy"
    balancers: int = 1
    suite: str = DEFAULT_SUITE
    reserve: tuple[str, ...] = ()
    kill_user_processes: bool = False

    def __post_init__(self) -> None:
        if not LAB_NAME.match(self.name):
            raise UsageError(
                f"{self.name!r} is not a valid lab name",
                hint="start with a lower-case letter; then up to 30 lower-case letters, digits or dashes",
            )
        if self.kind not in ("machines", "processes"):
            raise UsageError(f"unknown kind of lab: {self.kind!r}", hint="choose machines or processes")
        if self.hosts < 1 or self.balancers < 1 or self.hosts + self.balancers > MOST_HOSTS:
            raise UsageError(f"a lab has at least 1 host and 1 balancer, and at most {MOST_HOSTS} together")
        if self.kind == "processes" and self.supervisor == "systemd":
            raise UsageError(
                "a lab of processes has no systemd", hint="use --supervisor supervisord or --kind machines"
            )
        if self.suite not in SUITES:
            raise UsageError(f"unknown suite {self.suite!r}", hint=f"choose {', '.join(SUITES)}")
        if self.kind == "processes" and self.suite != DEFAULT_SUITE:
            raise UsageError(
                f"a lab of processes runs on this machine's own system, not on {self.suite}",
                hint="use --kind machines, or leave --suite out",
            )
        for word in self.reserve:
            if not PACKAGE_NAME.match(word):
                raise UsageError(f"{word!r} is not a valid name of a Debian package")

    @property
    def supervised_by(self) -> str:
        """The supervisor, settled."""
        return self.supervisor or ("supervisord" if self.kind == "processes" else "systemd")

    @property
    def balancer_suite(self) -> str:
        """The Debian suite of the balancer hosts: the web hosts' own, unless its HAProxy is too old."""
        return DEFAULT_SUITE if self.suite in _WITHOUT_A_BALANCER else self.suite

    @property
    def web_names(self) -> tuple[str, ...]:
        """`web1` … in order."""
        return tuple(f"web{number}" for number in range(1, self.hosts + 1))

    @property
    def balancer_names(self) -> tuple[str, ...]:
        """`lb1` … in order; none without a balancer."""
        if self.balancer == "none":
            return ()
        return tuple(f"lb{number}" for number in range(1, self.balancers + 1))

    @property
    def names(self) -> tuple[str, ...]:
        """All hosts."""
        return self.web_names + self.balancer_names
