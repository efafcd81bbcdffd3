"""What the balancer's operations ask of a balancer, whatever its kind: look at one pool's servers, move them.

A driver is built from plain data that the controller's adapter made (`Balancer.driver`); `kinds.create_driver` does it.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from deployer.agent.model.endpoints import place
from deployer.agent.operation import OpError
from deployer.agent.system import procfs

NOT_YET = ("INI", "asked, no answer yet", "not checked yet")
"""What HAProxy, nginx and Caddy have for a check until the first one has ended."""

_SETTLE = 0.3  # seconds in which a reload that was under way would undo what we set


@dataclass(frozen=True)
class Server:
    """One server as the balancer sees it now.

    `admin` is what people and runs asked for: `ready`, `drain` or `maint`. `status` and `check` are the balancer's
    words (HAProxy: `UP`, `DOWN`, `no check`; `L7OK`, `L4CON`); `check` is empty, or `NOT_YET`, until the first one has
    ended. `sessions` counts requests and websockets in flight, at
    the process that serves now and at older ones that still finish theirs.
    """

    name: str
    address: str
    port: int
    admin: str
    status: str
    check: str
    sessions: int

    @property
    def state(self) -> str:
        """`DRAIN` or `MAINT` when it was asked for, else `UP` or `DOWN`."""
        if self.admin != "ready":
            return "DRAIN" if self.admin == "drain" else "MAINT"
        return "UP" if self.status.startswith(("UP", "no check")) else "DOWN"

    @property
    def at(self) -> str:
        """Where it is, as its configuration says."""
        return place(self.address, self.port)

    @property
    def judged(self) -> bool:
        """Whether the balancer knows by now if requests may go there; right after a reload it does not."""
        return self.admin != "ready" or self.status == "no check" or self.check not in ("", *NOT_YET)

    @property
    def serves(self) -> bool:
        """It gets requests, and its last health check, if it has any, passed."""
        return self.state == "UP" and (self.status == "no check" or self.check in ("L7OK", "L6OK", "L4OK"))


class Request(NamedTuple):
    """One request in a balancer's log.

    Attributes:
        server: our name of the server that it was sent to.
        status: the HTTP status of the response; None if no whole response came.
        took: milliseconds until the first byte of the response; None if the log does not say.
    """

    server: str
    status: int | None
    took: float | None


class Driver(Protocol):
    """One pool of one balancer. Every method raises OpError `balancer_down` when the balancer does not answer.

    A server that a pool gets later is in maintenance there until somebody admits it, unless all of them are new: the
    kind's reload tool sees to that (`carried_over`, `new_gates`, `lay_slots`), since it knows the servers before. A
    server is new at a place where none was: one that only has another name is what it was.
    """

    def servers(self) -> dict[str, Server]:
        """All servers of the pool by our names."""
        ...

    def configured(self) -> dict[str, str]:
        """Server → `ADDRESS:PORT` by the files that deploy wrote, whether the balancer runs or not.

        Empty where somebody else configures the balancer, or nothing was written yet.
        """
        ...

    def set(self, names: list[str], admin: str) -> None:
        """Makes servers `ready`, `drain` or `maint`; OpError `unknown_server` for one that is not there."""
        ...

    def keep(self) -> None:
        """Makes what was set outlive the balancer's own reloads and restarts, whoever asks for them."""
        ...

    def requests(self, last: float, ahead: float) -> Iterable[Request]:
        """The requests that ended within the `last` seconds, as far back as the balancer remembers.

        Those of the next `ahead` seconds can be asked for later; 0: nobody is going to ask. OpError `no_figures` where
        it keeps no log of them.
        """
        ...

    def close(self, closed: bool) -> None:
        """From the next request on users get the page of maintenance, or the app again; outlives everything."""
        ...


class StrictDriver:
    """A driver that raises OpError `balancer_down` also for an answer that cannot be understood.

    An answer may be cut off, or come from something else than the balancer. Whatever the driver's parser raises for it,
    callers such as the watchdog see one kind of error and can try again. OSError passes: it is about this host's files.
    """

    def __init__(self, driver: Driver, kind: str) -> None:
        self._driver = driver
        self._kind = kind

    def servers(self) -> dict[str, Server]:
        """As `Driver.servers`."""
        with self._translate_errors():
            return self._driver.servers()

    def configured(self) -> dict[str, str]:
        """As `Driver.configured`."""
        with self._translate_errors():
            return self._driver.configured()

    def set(self, names: list[str], admin: str) -> None:
        """As `Driver.set`."""
        with self._translate_errors():
            self._driver.set(names, admin)

    def keep(self) -> None:
        """As `Driver.keep`."""
        with self._translate_errors():
            self._driver.keep()

    def requests(self, last: float, ahead: float) -> Iterable[Request]:
        """As `Driver.requests`."""
        with self._translate_errors():
            requests = self._driver.requests(last, ahead)
        return self._checked(requests)

    def close(self, closed: bool) -> None:
        """As `Driver.close`."""
        with self._translate_errors():
            self._driver.close(closed)

    def _checked(self, requests: Iterable[Request]) -> Iterator[Request]:
        with self._translate_errors():
            yield from requests

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except OpError as error:
            if isinstance(error.__cause__, PermissionError) and os.geteuid() != 0:
                raise _denied(error) from error.__cause__
            raise
        except OSError:
            raise
        except Exception as error:
            raise OpError(
                "balancer_down",
                f"the answer of the balancer ({self._kind}) cannot be understood: {error!r}",
                "deploy {command} {env}; if it stays so, look at the balancer's log on that host",
                log=traceback.format_exc().splitlines()[-8:],
            ) from error


def _denied(error: OpError) -> OpError:
    """The error of a balancer that answers, though not this user: who may ask it, in place of how to start it."""
    user = procfs.user_name(os.geteuid())
    hint = f"user {user} may not ask it: log in as root (-u root), or set ansible_become: true in the inventory"
    return OpError(error.code, error.message, hint, log=error.log, detail={**error.detail, "denied": user})


def settle(driver: Driver, names: list[str], admin: str) -> None:
    """`set`, written down, and looked at again for a moment.

    A reload by somebody else, begun just before, may have read the state before our word: it is said again then.
    """
    if not names:
        return
    driver.set(names, admin)
    driver.keep()
    end = time.monotonic() + _SETTLE
    while time.monotonic() < end:
        time.sleep(_SETTLE / 3)
        servers = driver.servers()
        undone = [name for name in names if name in servers and servers[name].admin != admin]
        if undone:
            driver.set(undone, admin)
            driver.keep()


def missing(servers: dict[str, Server], names: list[str]) -> OpError | None:
    """The error `unknown_server` when the balancer lacks any of these."""
    unknown = sorted(set(names) - set(servers))
    if not unknown:
        return None
    return OpError(
        "unknown_server",
        "the balancer does not know " + ", ".join(unknown),
        "deploy setup {env} writes its servers from the inventory",
        detail={"known": sorted(servers)},
    )
