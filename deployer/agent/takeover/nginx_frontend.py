"""The `proxy_pass`es and upstreams of an nginx that somebody else configured, led to a socket of our own in that nginx.

An `upstream` all of whose servers are the app's gets that socket in their place. A `proxy_pass` that names a server of
the app itself is given the socket's name. What the location says beside (headers, timeouts, buffers) holds as before.

The language: https://nginx.org/en/docs/beginners_guide.html#conf_structure, words as `ngx_conf_read_token` has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from deployer.agent.takeover.frontend import NoMatch, Places, Resolved, Rewrite, Unsupported, diff

_PASS = re.compile(r"http://([^/]+)(/.*)?$", re.DOTALL)
_PLACES = re.compile(r"[\w.\[\]:-]+:\d+")
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)|(?P<sign>[;{}])|(?P<word>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:\$\{|\\.|[^\s;{])+)""",
    re.DOTALL,
)


@dataclass
class Directive:
    """`words` as they are written, each at its place in the text; `end` is behind the `;` or the `}`."""

    words: list[str]
    at: list[int]
    end: int = 0
    inside: list[Directive] = field(default_factory=list)
    outside: Directive | None = None

    @property
    def name(self) -> str:
        """Its first word."""
        return self.words[0]

    def around(self) -> Iterator[Directive]:
        """The blocks that it is in, the nearest first."""
        block = self.outside
        while block is not None:
            yield block
            block = block.outside


def moved(text: str, places: dict[str, str], backend: str, resolved: Resolved) -> Rewrite:
    """One file of the configuration with all that leads to the app's places led to `backend` (`unix:PATH`).

    Args:
        places: `ADDRESS:PORT` of the app's servers → what a person calls that host.
        resolved: the IP addresses of an address or name.

    Raises CannotMove, NotThere where the file has none of them. Nothing left to change is `diff` empty.
    """
    directives, known = list(_all(parsed(text))), Places(places, resolved)
    seen: set[str] = set()
    named: list[str] = []
    edits: list[tuple[int, int, str]] = []
    for block in directives:
        if block.name != "upstream" or len(block.words) < 2:
            continue
        servers = [server for server in block.inside if server.name == "server" and len(server.words) > 1]
        hosts = known.find_hosts(f"upstream {block.words[1]}", [_place(server.words[1]) for server in servers])
        if not hosts:
            continue
        if any(outer.name == "stream" for outer in block.around()):
            raise Unsupported(f"upstream {block.words[1]} is of a `stream`, which passes on no requests")
        seen |= hosts
        named.append(block.words[1])
        first, others = servers[0], servers[1:]
        edits.append((first.at[1], first.end - 1, backend))
        edits += [(*_line(text, server), "") for server in others]
    for directive in directives:
        match = (
            _PASS.match(_bare(directive.words[1]))
            if directive.name == "proxy_pass" and len(directive.words) > 1
            else None
        )
        who = known.find_host(_place(match[1])) if match else ""
        if match is None or not who:
            continue
        if not _names_host(directive):
            raise Unsupported(
                f"`proxy_pass {directive.words[1]}` sends no name of a host on: add `proxy_set_header Host $http_host;`"
            )
        seen.add(who)
        named.append(match[1])
        start = directive.at[1] + directive.words[1].index("http://")
        edits.append((start, start + len(match[0]), f"http://{backend}{':' + match[2] if match[2] else ''}"))
    after = text
    for start, end, to in sorted(edits, reverse=True):
        after = after[:start] + to + after[end:]
    for directive in _all(parsed(after)):
        for word in directive.words:
            if any(known.find_host(place) for place in _PLACES.findall(word)):
                raise Unsupported(
                    f"`{' '.join(directive.words[:3])}` names the app too, in a way that is not led elsewhere"
                )
    if not edits and not leads(text, backend):
        raise NoMatch("nothing there sends to the app by `proxy_pass` or an `upstream`")
    missing = known.missing(seen) if edits else ()
    return Rewrite(after, diff(text, after), tuple(sorted(set(named))), missing)


def leads(text: str, backend: str) -> bool:
    """Whether an upstream or a `proxy_pass` there leads to `backend`."""
    for directive in _all(parsed(text)):
        to = _bare(directive.words[1]) if len(directive.words) > 1 else ""
        if directive.name == "server" and to == backend:
            return True
        if directive.name == "proxy_pass" and (to == "http://" + backend or to.startswith(f"http://{backend}:")):
            return True
    return False


def parsed(text: str) -> list[Directive]:
    """The directives outside of all blocks; NotThere for what is no configuration of nginx."""
    top: list[Directive] = []
    block: Directive | None = None
    now: Directive | None = None
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise NoMatch("line %d cannot be read" % (text.count("\n", 0, at) + 1))
        at = token.end()
        if token.lastgroup == "word":
            now = now or Directive([], [], outside=block)
            now.words.append(token[0])
            now.at.append(token.start())
        elif token[0] == "}" and block is not None and now is None:
            block.end, block = at, block.outside
        elif token.lastgroup == "sign" and (token[0] == "}" or now is None):
            raise NoMatch("line %d has a `%s` of nothing" % (text.count("\n", 0, at) + 1, token[0]))
        elif token.lastgroup == "sign" and now is not None:
            now.end = at
            (block.inside if block else top).append(now)
            block, now = (now, None) if token[0] == "{" else (block, None)
    if block is not None or now is not None:
        raise NoMatch("it ends in the middle")
    return top


def _all(directives: list[Directive]) -> Iterator[Directive]:
    for directive in directives:
        yield directive
        yield from _all(directive.inside)


def _place(server: str) -> str:
    """`ADDRESS:PORT` of what a `server` or a `proxy_pass` names: port 80 where it says none."""
    server = _bare(server)
    return server if server.startswith("unix:") or re.search(r":\d+$", server) else server + ":80"


def _bare(word: str) -> str:
    """A word without its quotes."""
    return word[1:-1] if word[:1] in ("'", '"') else word


def _names_host(directive: Directive) -> bool:
    """Whether what it passes on has a host that is set: here, or in a block around, or perhaps in what is included.

    nginx takes headers from outside only where a block sets none of its own.
    """
    for block in directive.around():
        headers = [header for header in block.inside if header.name == "proxy_set_header"]
        if any(header.words[1:2] in (["Host"], ["host"]) for header in headers):
            return True
        if any(inner.name == "include" for inner in block.inside):
            return True
        if headers:
            return False
    return False


def _line(text: str, directive: Directive) -> tuple[int, int]:
    """Where a directive begins and ends, with its whole line where nothing else is on that."""
    start, end = directive.at[0], directive.end
    begin = text.rfind("\n", 0, start) + 1
    finish = text.find("\n", end) + 1 or len(text)
    alone = not text[begin:start].strip() and re.match(r"\s*(#.*)?$", text[end:finish].rstrip("\n"))
    return (begin, finish) if alone else (start, end)
