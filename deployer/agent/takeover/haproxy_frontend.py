"""The frontends of an HAProxy that somebody else configured, led to another backend of that HAProxy.

Only what is plain is touched: `default_backend NAME` and `use_backend NAME …` of a backend all of whose servers are
the app's.
"""

from __future__ import annotations

from deployer.agent.takeover.frontend import NoMatch, Places, Resolved, Rewrite, Unsupported, diff

_SECTIONS = (
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "cache",
    "program",
)
_LEADS = ("default_backend", "use_backend")


def moved(text: str, places: dict[str, str], backend: str, resolved: Resolved) -> Rewrite:
    """The configuration with all frontends of the app's places led to `backend`.

    Args:
        places: `ADDRESS:PORT` of the app's servers → what a person calls that host.
        resolved: the IP addresses of an address or name.

    Raises CannotMove. Nothing left to change is `diff` empty: they are led there already.
    """
    lines = text.splitlines(keepends=True)
    servers, leading, listening = _read(lines)
    known = Places(places, resolved)
    app_backends: dict[str, set[str]] = {}
    for name, backend_servers in servers.items():
        hosts = known.find_hosts(f"backend {name}", backend_servers)
        if hosts and name in listening:
            raise Unsupported(f"`listen {name}` sends to the app itself: make a frontend and a backend of it")
        if hosts:
            app_backends[name] = hosts
    already = [at for at, name in leading if name == backend]
    if not app_backends:
        raise NoMatch("no backend there sends to the app")
    changed = [at for at, name in leading if name in app_backends]
    if not changed and not already:
        raise Unsupported(f"no `default_backend` or `use_backend` leads to {', '.join(sorted(app_backends))}")
    for at in changed:
        lines[at] = _led(lines[at], backend)
    after = "".join(lines)
    return Rewrite(
        after, diff(text, after), tuple(sorted(app_backends)), known.missing(set().union(*app_backends.values()))
    )


def leads(text: str, backend: str) -> bool:
    """Whether any frontend there leads to a backend of that name, under whatever condition."""
    _, leading, _ = _read(text.splitlines(keepends=True))
    return any(name == backend for _, name in leading)


def _read(lines: list[str]) -> tuple[dict[str, list[str]], list[tuple[int, str]], set[str]]:
    """Servers by backend, the lines that lead to one, and the names of `listen` sections."""
    servers: dict[str, list[str]] = {}
    leads: list[tuple[int, str]] = []
    listening: set[str] = set()
    name, kind = "", ""
    for at, line in enumerate(lines):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in _SECTIONS:
            kind, name = words[0], words[1] if len(words) > 1 else ""
            if kind == "listen":
                listening.add(name)
        elif words[0] == "server" and kind in ("backend", "listen") and len(words) > 2:
            servers.setdefault(name, []).append(words[2])
        elif words[0] in _LEADS and kind in ("frontend", "listen") and len(words) > 1:
            leads.append((at, words[1]))
    return servers, leads, listening


def _led(line: str, backend: str) -> str:
    """The line with its second word replaced, its spaces and comment as they were."""
    first = line.split()[0]
    start = line.index(first) + len(first)
    rest = line[start:]
    second = rest.split()[0]
    at = start + rest.index(second)
    return line[:at] + backend + line[at + len(second) :]
