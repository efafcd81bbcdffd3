"""One question to the probe's URL, before there is any traffic: does it answer, and how."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from deployer.errors import UsageError
from deployer.probe import kinds
from deployer.probe.http.failure import FailedRequest
from deployer.probe.http.target import Target
from deployer.probe.traffic import once


@dataclass(frozen=True)
class Answer:
    """What one GET came to. `status` 0: no whole answer came, and `why` says it as a receipt would.

    `leads_to` is where a redirect leads; it is never followed.
    """

    status: int = 0
    why: str = ""
    leads_to: str = ""

    @property
    def good(self) -> bool:
        """Whether it is one that counts as a success in traffic of the mix `found`."""
        return 0 < self.status < kinds.BAD


def ask(url: str, host_header: str | None = None, limit: float = 10.0) -> Answer:
    """Asks once, and waits `limit` seconds for the whole answer. UsageError for a URL that is none."""
    return asyncio.run(_ask(target_of(url, host_header), limit))


def target_of(url: str, host_header: str | None = None) -> Target:
    """The target of a URL that a user wrote; UsageError for one that is none."""
    try:
        return Target.parse(url, host_header)
    except ValueError as error:
        raise UsageError(str(error), step="probe", hint="--probe http://HOST[:PORT]/PATH") from None


async def _ask(target: Target, limit: float) -> Answer:
    try:
        async with asyncio.timeout(limit):
            response, _ = await once(target, kinds.URL)
    except FailedRequest as failed:
        return Answer(why=str(failed))
    except TimeoutError:
        return Answer(why=f"late: not answered within {limit:g} s")
    return Answer(response.status, leads_to=response.headers.get("location", ""))
