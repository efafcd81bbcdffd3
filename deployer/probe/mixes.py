"""How traffic is made up: which kinds in which order, and how much of it rests on long-lived connections."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.probe import kinds
from deployer.probe.kinds import Kind

# Idle gaps of a keep-alive connection, in seconds: shorter and longer than what servers and balancers do in a switch.
GAPS = (0.2, 0.5, 0.3, 3.0, 0.2, 1.0, 0.4, 2.0, 0.2, 0.6)
ECHO_EVERY = 0.5


@dataclass(frozen=True)
class Mix:
    """`fresh` kinds follow one another, each request on a new connection; `kept` is sent on reused ones."""

    fresh: tuple[Kind, ...]
    kept: Kind
    websocket: bool = False


@dataclass(frozen=True)
class Shares:
    """What makes up a rate: keep-alive connections, websockets, and fresh requests a second."""

    kept: int
    websockets: int
    fresh_per_second: float


_APP = (
    kinds.GET,
    kinds.SLOW,
    kinds.STREAM,
    kinds.POST,
    kinds.LATE,
    kinds.GET,
    kinds.PAGE,
    kinds.GET,
    kinds.POST,
    kinds.GET,
)

MIXES = {
    "full": Mix(_APP, kinds.KEEPALIVE, websocket=True),
    "http": Mix(_APP, kinds.KEEPALIVE),
    "get": Mix((kinds.URL,), kinds.KEEPALIVE_URL),
    "found": Mix((kinds.FOUND,), kinds.KEEPALIVE_FOUND),
}


def shares(mix: Mix, rate: float) -> Shares:
    """How `rate` requests a second are shared out; long-lived connections carry about a fifth of them.

    The rate is a floor: what long-lived connections carry is reckoned low, since answers take their time too.
    """
    kept = max(1, round(rate / 10))
    websockets = max(1, round(rate / 20)) if mix.websocket else 0
    long_lived = kept * len(GAPS) / sum(GAPS) + websockets / ECHO_EVERY
    return Shares(kept, websockets, 1.02 * max(rate - 0.85 * long_lived, rate / 2))
