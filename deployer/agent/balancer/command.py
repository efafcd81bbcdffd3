"""A balancer that only the user's own commands can move: one in a cloud, or anything else that has a command line.

Each command is a line for sh, run on this host once for each server, with these in its environment beside the agent's
own and the app's secrets:

    DEPLOY_APP DEPLOY_ENV DEPLOY_BACKEND    the app, its environment, `balancer.backend`
    DEPLOY_SERVER                           web1-8000
    DEPLOY_HOST DEPLOY_INSTANCE             web1 (as in the inventory) and 0
    DEPLOY_ADDRESS DEPLOY_PORT              192.0.2.1 and 8000: where the balancer reaches it

`drain` has new requests go elsewhere, `admit` undoes that; both end with status 0, may be run again, and need not wait.
`state` prints one word, which is asked until it is the right one or time is up:

    ready        requests go there, and the balancer takes it for healthy
    unhealthy    requests would go there, and the balancer does not take it for healthy, or not yet
    drain        no new requests; some are still in flight (`drain 7`: so many)
    down         no requests, none in flight; or the balancer does not know it
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from deployer.agent.balancer.driver import Request, Server
from deployer.agent.model.endpoints import parts
from deployer.agent.model.layout import Site
from deployer.agent.model.shell import shell_argv
from deployer.agent.operation import OpError
from deployer.agent.site import app_environment, secrets
from deployer.agent.system import process_runner

_FRESH = 1.0  # seconds for which an answer of `state` is believed: a command is no look at a socket
_AT_ONCE = 8
_TRIES = 3  # an interface of a cloud that is busy for a moment is no reason to give up a drain
_AGAIN = 0.5  # seconds between two tries
_WORDS = ("ready", "unhealthy", "drain", "down")


class Commands:
    """The driver `{"kind", "site", "backend", "drain", "admit", "state", "timeout", "servers", "addresses"}`.

    `servers` is name → `{host, instance}`, `addresses` name → `ADDRESS:PORT`; `timeout` the seconds that one command
    may take.
    """

    def __init__(self, driver: dict[str, Any]) -> None:
        self._site = Site(**driver["site"])
        self._driver = driver
        self._servers: dict[str, dict[str, Any]] = {
            name: {**driver["servers"][name], **_address(at)} for name, at in driver["addresses"].items()
        }
        self._answers: dict[str, tuple[float, str, int]] = {}
        self._requested_admin: dict[str, str] = {}

    def servers(self) -> dict[str, Server]:
        """All servers, as `state` says. OpError `balancer_down` when it fails or says no word that it may."""
        old = [name for name in self._servers if time.monotonic() > self._answers.get(name, (0.0,))[0]]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for name, answer in zip(old, pool.map(self._state, old)):
                self._answers[name] = (time.monotonic() + _FRESH, *answer)
        return {name: self._server(name, *self._answers[name][1:]) for name in self._servers}

    def configured(self) -> dict[str, str]:
        """Nothing: the balancer's own configuration names its servers."""
        return {}

    def set(self, names: list[str], admin: str) -> None:
        """Runs `admit` for `ready`, `drain` for the rest; OpError `balancer_down` when it fails."""
        for name in names:
            if name not in self._servers:
                raise OpError("unknown_server", f"the commands were not told of a server {name}")
            self._run("admit" if admin == "ready" else "drain", name)
            self._answers.pop(name, None)
            self._requested_admin[name] = admin

    def keep(self) -> None:
        """Nothing: what a command told the balancer is the balancer's to keep."""

    def requests(self, last: float, ahead: float) -> Iterable[Request]:
        """Commands tell none."""
        raise OpError("no_figures", "commands of your own tell no figures of requests")

    def close(self, closed: bool) -> None:
        """Commands know no maintenance."""
        raise OpError(
            "unmanaged", "commands of your own show no page of maintenance: switch it on at the balancer itself"
        )

    def _server(self, name: str, word: str, in_flight: int) -> Server:
        place, requested_admin = self._servers[name], self._requested_admin.get(name)
        admin = "ready" if word in ("ready", "unhealthy") else "drain"
        # A balancer may take its time to do what it was told: until then it is neither up nor idle.
        late = requested_admin is not None and (requested_admin == "ready") != (admin == "ready")
        return Server(
            name=name,
            address=str(place["address"]),
            port=int(place["port"]),
            admin=requested_admin if late and requested_admin else admin,
            status="UP" if word == "ready" and not late else "DOWN",
            check="L7OK" if word == "ready" and not late else "state says " + word,
            sessions=max(1, in_flight) if word == "drain" or (late and admin == "ready") else 0,
        )

    def _state(self, name: str) -> tuple[str, int]:
        done = self._call("state", name)
        for _ in range(_TRIES - 1):
            if done.timed_out or (done.ok and _says(done)):
                break
            time.sleep(_AGAIN)
            done = self._call("state", name)
        self._require(done, "state", name)
        if not _says(done):
            printed = done.stdout.strip()[:100]
            self._fail("state", name, f"printed {printed!r}, which is none of {', '.join(_WORDS)}", done)
        words = done.stdout.split()
        return words[0], int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0

    def _run(self, verb: str, name: str) -> None:
        self._require(self._call(verb, name), verb, name)

    def _require(self, done: process_runner.Finished, verb: str, name: str) -> None:
        if not done.ok:
            self._fail(verb, name, "failed: " + done.why, done)

    def _call(self, verb: str, name: str) -> process_runner.Finished:
        place = self._servers[name]
        variables = {
            "DEPLOY_APP": self._site.app,
            "DEPLOY_ENV": self._site.env,
            "DEPLOY_BACKEND": str(self._driver["backend"]),
            "DEPLOY_SERVER": name,
            "DEPLOY_HOST": str(place["host"]),
            "DEPLOY_INSTANCE": str(place["instance"]),
            "DEPLOY_ADDRESS": str(place["address"]),
            "DEPLOY_PORT": str(place["port"]),
        }
        return process_runner.run(
            app_environment.with_secrets(self._site, shell_argv(self._driver[verb])),
            timeout=float(self._driver["timeout"]),
            cwd="/",
            env={**os.environ, **variables},
            limit=1 << 16,
        )

    def _fail(self, verb: str, name: str, what: str, done: process_runner.Finished) -> NoReturn:
        redact = secrets.redactor(self._site)
        raise OpError(
            "balancer_down",
            redact(f"{name}: your command balancer.{verb} {what}"),
            "run it by hand on that host; its environment is in docs/balancers.md",
            log=[redact(line) for line in done.log()],
        )


def _says(done: process_runner.Finished) -> bool:
    """Whether it printed a word that it may."""
    return (done.stdout.split() or [""])[0] in _WORDS


def _address(at: str) -> dict[str, Any]:
    address, port = parts(at)
    return {"address": address, "port": port}
