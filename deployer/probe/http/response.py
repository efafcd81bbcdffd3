"""One HTTP/1.1 response, read strictly enough that a cut one never passes for whole (RFC 9112)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployer.probe.http.failure import FailedRequest
from deployer.probe.http.reader import Reader


@dataclass(frozen=True)
class Response:
    """A whole response. Header names are lower case. `reusable`: the connection may carry another request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reusable: bool

    @property
    def release(self) -> str:
        """The release that says it answered (`X-Release`), or an empty string."""
        return self.headers.get("x-release", "")


async def read_response(reader: Reader) -> Response:
    """Reads one response to a GET or POST; interim 100 and 103 answers are skipped, 101 ends after its head."""
    reader.begin()
    while True:
        version, status = await _status_line(reader)
        headers = await _headers(reader)
        if status == 101 or status >= 200:
            break
    try:
        body, framed = await _body(reader, status, headers)
    except FailedRequest as error:
        raise FailedRequest(error.cause, error.detail, headers.get("x-release", "")) from error
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    keep = "close" not in tokens and (version != b"HTTP/1.0" or "keep-alive" in tokens)
    return Response(status, headers, body, reusable=framed and keep)


async def _status_line(reader: Reader) -> tuple[bytes, int]:
    words = (await reader.line()).split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise FailedRequest("protocol", "the answer is not HTTP/1.x")
    return words[0], int(words[1])


async def _headers(reader: Reader) -> dict[str, str]:
    headers: dict[str, str] = {}
    while line := await reader.line():
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or len(headers) > 200:
            raise FailedRequest("protocol", "a malformed header")
        headers[name.strip().lower()] = value.strip()
    return headers


async def _body(reader: Reader, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
    if status in (101, 204, 304):
        return b"", True
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader), True
    if "content-length" in headers:
        return await reader.exactly(_number(headers["content-length"], 10)), True
    return await reader.rest(), False


async def _chunks(reader: Reader) -> bytes:
    body = bytearray()
    while size := _number((await reader.line()).partition(b";")[0].decode("latin-1"), 16):
        body += await reader.exactly(size)
        if await reader.line():
            raise FailedRequest("protocol", "a chunk longer than its length")
    while await reader.line():
        pass  # trailers
    return bytes(body)


def _number(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise FailedRequest("protocol", f"{text!r} is not a valid length") from None
