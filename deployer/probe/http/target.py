"""Where the probe's requests go: one address, from one URL. Redirects are never followed."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """`host` and `port` are connected to; `path` is the URL's own; `authority` is sent as Host."""

    host: str
    port: int
    path: str
    authority: str
    tls: bool

    @classmethod
    def parse(cls, url: str, host_header: str | None = None) -> Target:
        """The target of `http[s]://host[:port][/path]`; ValueError says what is wrong with it."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http:// or https:// URL")
        if any(ord(char) <= 32 or ord(char) == 127 for char in url + (host_header or "")):
            raise ValueError(f"{url!r} or its Host contains a space or a control character")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authority = host_header or parts.netloc.rpartition("@")[2]
        return cls(parts.hostname, port, path, authority, parts.scheme == "https")

    @property
    def name(self) -> str:
        """The name that a certificate must be for: that of `authority`."""
        return urllib.parse.urlsplit("//" + self.authority).hostname or self.host

    def below(self, path: str) -> str:
        """`path` (`/echo`) below the URL's own path."""
        return self.path.partition("?")[0].rstrip("/") + path

    def request(
        self, method: str, path: str, body: bytes = b"", *, keep: bool = False, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The bytes of one HTTP/1.1 request. `keep` asks the server to leave the connection open."""
        fields = {
            "Host": self.authority,
            "User-Agent": "deploy-probe",
            "Accept": "*/*",
            "Connection": "keep-alive" if keep else "close",
        }
        if body or method == "POST":
            fields |= {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        fields |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
