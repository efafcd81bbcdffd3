"""The kinds of requests, what each asks of the app under test, and when its answer is wrong.

The example apps under `examples/` show all the endpoints. Every answer carries `X-Release`, the release that gave it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deployer.probe.http.failure import FailedRequest
from deployer.probe.http.response import Response

Judge = Callable[[Response, bytes], None]

BAD = 400
"""From this status on an answer is no success, where the URL is known to have better ones."""


@dataclass(frozen=True)
class Kind:
    """One kind of request. `path` None is the URL's own; `asks_s` are the seconds that a right answer takes.

    `judge` takes the response and the body that was sent, and raises `FailedRequest` for a wrong answer.
    """

    name: str
    path: str | None
    judge: Judge
    method: str = "GET"
    asks_s: float = 0.0


def _any_page(response: Response, sent: bytes) -> None:
    if response.status >= 500:
        raise FailedRequest("status", str(response.status), response.release)


def _good_page(response: Response, sent: bytes) -> None:
    if response.status >= BAD:
        raise FailedRequest("status", str(response.status), response.release)


def _right(response: Response) -> None:
    if response.status != 200:
        raise FailedRequest("status", str(response.status), response.release)
    if not response.release:
        raise FailedRequest("unproven", "the answer names no release (X-Release)")


def _json(response: Response) -> dict[str, Any]:
    _right(response)
    try:
        data = json.loads(response.body)
    except ValueError:
        data = None
    if not isinstance(data, dict) or "release" not in data:
        raise FailedRequest("body", f"no JSON with a release: {response.body[:80]!r}", response.release)
    _same_release(response, "the body", data["release"])
    return data


def _same_release(response: Response, part: str, release: object) -> None:
    if release != response.release:
        raise FailedRequest("mixed", f"the header says {response.release}, {part} says {release}", response.release)


def _version(response: Response, sent: bytes) -> None:
    _json(response)


def _late(response: Response, sent: bytes) -> None:
    _same_release(response, "a module imported late", _json(response).get("late_release"))


def _echo(response: Response, sent: bytes) -> None:
    _right(response)
    if response.body != sent:
        raise FailedRequest("body", f"{len(response.body)} bytes came back for {len(sent)}", response.release)


def _stream(response: Response, sent: bytes) -> None:
    _right(response)
    *lines, last = response.body.decode("utf-8", "replace").splitlines() or [""]
    if last != "END":
        raise FailedRequest("truncated", "the stream has no END", response.release)
    for line in lines:
        _same_release(response, "a line of the stream", line.partition(" ")[0])


def _page(response: Response, sent: bytes) -> None:
    _right(response)
    if not response.body.rstrip().endswith(b"</html>"):
        raise FailedRequest("body", "the page has no end", response.release)


URL = Kind("get", None, _any_page)
FOUND = Kind("get", None, _good_page)
GET = Kind("get", "/version", _version)
KEEPALIVE = Kind("keepalive", "/version", _version)
KEEPALIVE_URL = Kind("keepalive", None, _any_page)
KEEPALIVE_FOUND = Kind("keepalive", None, _good_page)
POST = Kind("post", "/echo", _echo, method="POST")
SLOW = Kind("slow", "/slow?s=2", _version, asks_s=2.0)
STREAM = Kind("stream", "/stream", _stream, asks_s=1.0)
LATE = Kind("late", "/late", _late)
PAGE = Kind("page", "/", _page)
