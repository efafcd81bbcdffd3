"""Why one request counts as failed, in words that never change."""

from __future__ import annotations

from typing import Literal

Cause = Literal[
    "refused",  # nobody listens
    "unreachable",  # no route, name unknown, no address
    "reset",  # the connection was reset
    "closed",  # it ended before any response byte, or a websocket without (or with a wrong) close frame
    "truncated",  # the response ended before it was whole
    "late",  # not whole within the limit
    "status",  # a status that the request does not expect
    "tls",  # the handshake or the certificate failed
    "protocol",  # not HTTP, or not a websocket
    "body",  # a whole response with the wrong content
    "mixed",  # one response speaks of two releases
    "unproven",  # answered by a release that was never proven, or by nobody's
]


class FailedRequest(Exception):
    """One request failed. `release` is who answered, where that is known."""

    def __init__(self, cause: Cause, detail: str, release: str = "") -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause: Cause = cause
        self.detail = detail
        self.release = release


class UnansweredRequest(FailedRequest):
    """The connection ended before the first byte of a response: on a reused connection that is only stale."""
