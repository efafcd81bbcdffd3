"""Many agents at once. What crosses this seam is plain data: hosts, operation names, arguments, results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

from deployer.agent.model.messages.event import Event
from deployer.errors import DeployError, UnreachableError
from deployer.inventory.model import Host
from deployer.remote.errors import SessionLost
from deployer.remote.heartbeat import Heartbeat
from deployer.remote.pending import Body, Pending
from deployer.remote.session import Session
from deployer.remote.ssh.dialer import Dialer

_AT_ONCE = 32

Args = Mapping[str, object] | Callable[[Host], Mapping[str, object]] | None
FleetEvent = Callable[[Host, Event], None]


@dataclass(frozen=True)
class Result:
    """What one host answered: `value`, or `error` if it is not None. Picklable."""

    host: str
    value: dict[str, Any] | None = None
    error: BaseException | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> dict[str, Any]:
        """Return the value; raises the error (AgentError, SessionLost) if there is one instead."""
        if self.error is not None:
            raise self.error
        return self.value or {}


class Fleet(Mapping[str, Session]):
    """Open sessions by the inventory names of their hosts. Thread-safe. Made by `Fleet.open`; a context manager.

    `failures` are the hosts that could not be opened (only with `partial`), by name.
    """

    def __init__(
        self, sessions: dict[str, Session], failures: dict[str, DeployError], dialer: Dialer, heart: Heartbeat
    ) -> None:
        self._sessions = sessions
        self.failures = failures
        self._dialer = dialer
        self._heart = heart

    @classmethod
    def open(
        cls,
        hosts: Iterable[Host],
        *,
        user: str | None = None,
        sudo_password: str | None = None,
        become: bool | None = None,
        identity: str | None = None,
        balancer: str = "none",
        partial: bool = False,
        dialer: Dialer | None = None,
        **leases: float,
    ) -> Self:
        """Connect to all hosts at once (32 at a time) and start their agents.

        Args:
            user: who logs in, over the inventory's own word.
            sudo_password, become, identity, balancer, lease, grace: as for `Session.open`.
            partial: hosts that cannot be opened are in `failures`; else one error names all of them.
            dialer: how to connect; made from `user` by default.

        Raises:
            The error of the host that failed, or an UnreachableError that names all, with `failures` (name → error).
            The worst kind wins: an untrusted host is UntrustedHostError. Sessions that were open are closed.
        """
        wanted = list({host.name: host for host in hosts}.values())
        dialer, heart = dialer or Dialer(user=user), Heartbeat()
        sessions: dict[str, Session] = {}
        failures: dict[str, DeployError] = {}

        def one(host: Host) -> Session | DeployError:
            try:
                return Session.open(
                    host,
                    dialer=dialer,
                    heart=heart,
                    sudo_password=sudo_password,
                    become=become,
                    identity=identity,
                    balancer=balancer,
                    **leases,
                )
            except DeployError as error:
                return error

        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(wanted)) or 1, thread_name_prefix="connect") as pool:
            for host, outcome in zip(wanted, pool.map(one, wanted), strict=True):
                if isinstance(outcome, Session):
                    sessions[host.name] = outcome
                else:
                    failures[host.name] = outcome
        fleet = cls(sessions, failures, dialer, heart)
        if failures and not partial:
            fleet.close()
            raise together(failures)
        return fleet

    def __getitem__(self, host: str | Host) -> Session:
        """The session of a host, by name; KeyError if it has none."""
        return self._sessions[host.name if isinstance(host, Host) else host]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def run_on_hosts(
        self,
        hosts: Iterable[str | Host],
        op: str,
        args: Args = None,
        *,
        body: Body | Callable[[Host], Body | None] | None = None,
        on_event: FleetEvent | None = None,
        lane: str = "main",
        timeout: float | None = None,
    ) -> dict[str, Result]:
        """Return one operation on many hosts at once; waits for all of them.

        Raises KeyError for a host without a session.

        Args:
            hosts: names or hosts; all get the request at the same time.
            args, body: the same for all, or a function of the host. A body for all must be bytes.
            on_event: takes (host, event), in reading threads: several at a time.
            lane: as for `Session.request`.
            timeout: seconds for each; a host that takes longer has an AgentError `timeout`.

        Returns:
            A Result for every host, in the order asked; nothing that a host does raises here.
        """
        under_way = {name: self._ask(name, op, args, body, on_event, lane) for name in map(_name, hosts)}
        return {name: _outcome(self._sessions[name], pending, timeout) for name, pending in under_way.items()}

    def _ask(
        self, name: str, op: str, args: Args, body: Any, on_event: FleetEvent | None, lane: str
    ) -> Pending | BaseException:
        session = self._sessions[name]
        host = session.host
        given = dict((args(host) if callable(args) else args) or {})
        stuff = body(host) if callable(body) else body
        listener = None if on_event is None else lambda event: on_event(host, event)
        try:
            return session.request(op, given, stuff, listener, lane)
        except SessionLost as error:
            return error

    def stale(self, seconds: float, hosts: Iterable[str | Host] | None = None) -> list[str]:
        """Names of those (all by default) that are lost, or whose lease was not certainly renewed within `seconds`."""
        names = self._sessions if hosts is None else map(_name, hosts)
        return [
            name
            for name in names
            if name not in self._sessions
            or not self._sessions[name].alive
            or self._sessions[name].fresh_for() > seconds
        ]

    def close(self) -> None:
        """Say goodbye to all agents at once and close all connections. Never raises."""
        sessions = list(self._sessions.values())
        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(sessions)) or 1) as pool:
            list(pool.map(Session.close, sessions))
        self._heart.stop()
        self._dialer.close()

    def kill(self) -> None:
        """Cut all links without a goodbye."""
        for session in self._sessions.values():
            session.kill()
        self._heart.stop()
        self._dialer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FleetError(UnreachableError):
    """Several hosts could not be opened; `failures` has each one's error by name."""

    log_label = "host by host"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.failures: dict[str, DeployError] = {}


def together(failures: Mapping[str, DeployError]) -> DeployError:
    """Return one error for all hosts that failed: the host's own if it is one, else a FleetError that lists them."""
    errors = list(failures.values())
    if len(errors) == 1:
        return errors[0]
    codes = {error.code for error in errors}
    made = FleetError(
        f"{len(errors)} hosts cannot be used: {', '.join(failures)}",
        step="connect",
        log=[str(error) for error in errors],
        hint=_one_hint(errors),
        code=codes.pop() if len(codes) == 1 else None,
    )
    made.failures = dict(failures)
    return made


def _one_hint(errors: Sequence[DeployError]) -> str | None:
    """Return the hints of all, each kind of failure once: those of one kind differ only in the host that they name."""
    by_code: dict[str, dict[str, None]] = {}
    for error in errors:
        if error.hint:
            by_code.setdefault(error.code, {})[error.hint] = None
    hints = [next(iter(same)) + (" (likewise for the others)" if len(same) > 1 else "") for same in by_code.values()]
    return "; ".join(dict.fromkeys(hints)) or None


def _name(host: str | Host) -> str:
    return host.name if isinstance(host, Host) else host


def _outcome(session: Session, pending: Pending | BaseException, timeout: float | None) -> Result:
    name = session.host.name
    if isinstance(pending, BaseException):
        return Result(name, error=pending)
    try:
        return Result(name, value=session.wait(pending, timeout))
    except Exception as error:
        return Result(name, error=error)
