"""The options of gunicorn's and uvicorn's command lines: what is no user's to say in `runtime.args`, and why.

Sources: `gunicorn --help` and `uvicorn --help`. What gunicorn's options decide is told once for them and for its file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deployer.settings.inference.server.gunicorn_file import BREAKS, ENDS, LEFT_ASIDE, PLAIN

_OPTIONS = {"keepalive": "keep-alive", "pidfile": "pid", "preload_app": "preload"}
_ANYBODYS = {"wsgi_app", "forwarded_allow_ips"}
_PLACE = LEFT_ASIDE["bind"]
_FOLDER = LEFT_ASIDE["chdir"]
_RELOAD = "a release never changes; `deploy dev` reloads"


def _of_gunicorn() -> Iterator[tuple[str, str]]:
    for name, why in {**LEFT_ASIDE, **BREAKS}.items():
        if name not in _ANYBODYS:
            yield "--" + _OPTIONS.get(name, name).replace("_", "-"), why
    yield "--reload", _RELOAD
    yield "--config", "the tool writes it; a gunicorn.conf.py of the app's own is read by it"
    yield "--version", ENDS
    yield "--help", ENDS


@dataclass(frozen=True)
class Options:
    """`keys`: option → the key of `runtime:` that says the same; `decided`: option → why it is no user's.

    `flags` stand alone: a word behind them is no value of theirs. `short`: short option → the long one, of those that
    are in `keys` or `decided`. `abbreviates`: the start of a long option is taken for the option (argparse does so,
    click does not). `variable` is that of the environment which has options too.
    """

    keys: Mapping[str, str]
    decided: Mapping[str, str]
    flags: frozenset[str]
    short: Mapping[str, str] = field(default_factory=dict)
    abbreviates: bool = False
    variable: str = ""

    def refused(self, words: Sequence[str]) -> tuple[str, str, str] | None:
        """Return the first word that a rollout cannot allow, why, and what to do; None if all are fine."""
        before = ""
        for word in words:
            name = self._name(word)
            option = self._option(name)
            if option in self.keys:
                key = self.keys[option]
                return word, f"runtime.{key} decides that", f"write runtime: {{{key}: …}} instead"
            if option in self.decided:
                return word, self.decided[option], f"take {word} out"
            if not word.startswith("-") and not self._takes_value(before):
                return word, "it belongs to no option, and the app is named by runtime.app", f"take {word} out"
            before = word
        return None

    def _name(self, word: str) -> str:
        if word.startswith("--"):
            return word.partition("=")[0]
        return self.short.get(word[:2], word[:2])

    def _option(self, name: str) -> str:
        """Return the option that is meant, of those that are no user's; `name` itself where it is none of them."""
        known_options = (*self.keys, *self.decided)
        if name not in known_options and self.abbreviates and name.startswith("--") and len(name) > 4:
            return next((option for option in known_options if option.startswith(name)), name)
        return name

    def _takes_value(self, word: str) -> bool:
        """Return whether the word behind this one is its value: it is an option, and does not have one already."""
        if not word.startswith("-") or word == "--" or word in self.flags or "=" in word:
            return False
        return word.startswith("--") or len(word) == len("-x")


GUNICORN = Options(
    keys={
        "--workers": "workers",
        "--worker-class": "worker_class",
        "--timeout": "timeout",
        "--graceful-timeout": "graceful_timeout",
        "--keep-alive": "keepalive",
        "--max-requests": "max_requests",
        "--max-requests-jitter": "max_requests_jitter",
    },
    decided=dict(_of_gunicorn()),
    short={
        "-b": "--bind", "-w": "--workers", "-k": "--worker-class", "-t": "--timeout", "-c": "--config",
        "-D": "--daemon", "-p": "--pid", "-u": "--user", "-g": "--group", "-v": "--version", "-h": "--help",
    },
    flags=frozenset({
        "--reload", "--spew", "--check-config", "--print-config", "--preload", "--no-sendfile", "--reuse-port",
        "--daemon", "-D", "--initgroups", "--disable-redirect-access-to-syslog", "--capture-output", "--log-syslog",
        "--enable-stdio-inheritance", "-R", "--enable-backlog-metric", "--suppress-ragged-eofs",
        "--do-handshake-on-connect", "--permit-obsolete-folding", "--strip-header-spaces",
        "--permit-unconventional-http-method", "--permit-unconventional-http-version", "--casefold-http-method",
        "--no-control-socket", "--version", "-v", "--help", "-h",
    }),
    abbreviates=True,
    variable="GUNICORN_CMD_ARGS",
)  # fmt: skip

UVICORN = Options(
    keys={
        "--workers": "workers",
        "--timeout-graceful-shutdown": "graceful_timeout",
        "--timeout-keep-alive": "keepalive",
        "--limit-max-requests": "max_requests",
        "--limit-max-requests-jitter": "max_requests_jitter",
    },
    decided={
        **dict.fromkeys(("--host", "--port", "--uds", "--fd"), _PLACE),
        **dict.fromkeys(("--reload", "--reload-dir", "--reload-delay"), _RELOAD),
        **dict.fromkeys(("--reload-include", "--reload-exclude"), _RELOAD),
        **dict.fromkeys(("--ssl-keyfile", "--ssl-certfile"), PLAIN),
        **dict.fromkeys(("--version", "--help"), ENDS),
        "--app-dir": _FOLDER,
        "--factory": "runtime.app decides that: write module:factory()",
    },
    flags=frozenset({
        "--reload", "--access-log", "--no-access-log", "--use-colors", "--no-use-colors", "--proxy-headers",
        "--no-proxy-headers", "--server-header", "--no-server-header", "--date-header", "--no-date-header", "--factory",
        "--http2", "--reset-contextvars", "--version", "--help",
    }),
)  # fmt: skip
