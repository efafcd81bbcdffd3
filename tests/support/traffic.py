"""Users' traffic from a process of its own, and what is demanded of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployer import probe
from deployer.probe import Receipt


class Traffic:
    """A running probe; `receipt` is there after the block."""

    def __init__(self, prober: probe.Prober) -> None:
        self.prober = prober
        self.receipt: Receipt | None = None

    def demand(
        self, *, proven: set[str], at_least: int, rate: float = 20.0, stale: int = 0, closed: int = 0
    ) -> Receipt:
        """Asserts on the ended traffic: nothing failed, nothing stale, only proven releases answered, enough of it.

        `stale` and `closed` say how many idle and new connections may end without an answer.
        """
        receipt = self.receipt
        assert receipt is not None
        assert receipt.failed <= closed, (receipt.causes, receipt.failures[:10])
        assert set(receipt.causes) <= {"closed"}, (receipt.causes, receipt.failures[:10])
        assert receipt.stale <= stale, receipt
        assert set(receipt.releases) <= proven, (receipt.releases, proven)
        assert receipt.requests >= at_least, receipt
        assert receipt.requests / receipt.seconds >= rate, receipt
        return receipt


@contextmanager
def traffic(
    address: str,
    log: Path,
    *,
    mix: str = "full",
    rate: float = 30.0,
    host_header: str | None = None,
    limit: float = 10.0,
    scheme: str = "http",
) -> Iterator[Traffic]:
    """Mixed traffic against HOST:PORT while the block runs; a request counts as late after `limit` seconds.

    With `https` the variable SSL_CERT_FILE names whom to trust.
    """
    url = f"{scheme}://{address}/"
    with probe.start(url, rate=rate, mix=mix, host_header=host_header, limit=limit, log_path=log) as prober:
        running = Traffic(prober)
        yield running
        running.receipt = prober.stop()
