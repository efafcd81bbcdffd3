"""The scripted fleet answers as a real agent does: the same request to both, the same keys, types and error codes.

The real agent runs in this process, on a site in a folder, with a real supervisord, and a balancer of kind `command`
whose commands keep a word in a file.
"""

from __future__ import annotations

import fcntl
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import release_site
import supervised
from commanded import Place
from scripted import NEW, OLD, World
from support.topologies import topology
from whole import Hosts

from deployer.agent.balancer import watchdog
from deployer.agent.model.layout import COMMANDS, MARKER
from deployer.agent.model.resources import File, to_wire
from deployer.agent.model.supervision import Process, Schedule, Verbs
from deployer.agent.operation import Context, OpError, find
from deployer.agent.site import lock
from deployer.artifact import manifest
from deployer.remote.errors import AgentError

BAD = "20240701T000000Z-cccccccc"
MAPS = frozenset({*("slots", "servers", "names", "logs", "certificates", "processes", "schedules", "busy", "failed")})
MAPS |= {"tools", "pythons", "limits", "sources", "ports", "times"}
"""Keys below which names are data; all values there have one shape."""
SAME = frozenset({"state", "by", "current", "previous", "serving", "release", "complete", "missing", "late"})
"""Keys whose values have to be the same too, as all that are true or false."""
OPAQUE = frozenset({"cursor"})
"""Keys whose values the controller hands back as they came."""


def differences(real: Any, scripted: Any, path: str = "") -> Iterator[str]:
    """Where the scripted answer has other keys, types or truth values than the real one. Null is in place of any."""
    key = path.rpartition(".")[2].partition("[")[0]
    if real is None or scripted is None or key in OPAQUE:
        return
    if isinstance(real, dict) and isinstance(scripted, dict) and key in MAPS:
        samples = list(real.values())[:1]
        for name, value in scripted.items():
            for sample in [real[name]] if name in real else samples:
                yield from differences(sample, value, f"{path}.{name}.*")
    elif isinstance(real, dict) and isinstance(scripted, dict):
        yield from (f"{path}.{name} is missing" for name in sorted(real.keys() - scripted.keys()))
        yield from (f"{path}.{name} is no key of a real answer" for name in sorted(scripted.keys() - real.keys()))
        for name in real.keys() & scripted.keys():
            yield from differences(real[name], scripted[name], f"{path}.{name}")
    elif isinstance(real, list) and isinstance(scripted, list):
        for index, item in enumerate(scripted if real else ()):
            yield from differences(real[min(index, len(real) - 1)], item, f"{path}[{index}]")
    elif _kind(real) != _kind(scripted) or ((isinstance(real, bool) or key in SAME) and real != scripted):
        yield f"{path} is {scripted!r}, and really {real!r}"


def _kind(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if number else type(value).__name__


@dataclass
class Pair:
    """A real host and a scripted one that are in the same state, as far as the test brings both there."""

    real: Callable[..., dict[str, Any]]
    scripted: World
    host: str

    def ask(self, operation: str, body: bytes = b"", /, **args: Any) -> dict[str, Any]:
        """Both answers, compared; returns the real one. Of an error: `code` and `detail`."""
        real = _outcome(OpError, lambda: self.real(operation, body, **args))
        scripted = _outcome(AgentError, lambda: self.scripted.call(self.host, operation, args))
        assert list(differences(real, scripted)) == [], f"{operation}\nreal: {real}\nscripted: {scripted}"
        assert ("error" in real, real.get("error")) == ("error" in scripted, scripted.get("error")), (real, scripted)
        return real


def _outcome(failure: type[Any], call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(json.dumps(call()))
    except failure as error:
        return {"error": error.code, "detail": error.detail}
    return answer


# -- an app's host -----------------------------------------------------------------------------------------------------


@pytest.fixture
def supervised_host() -> Iterator[supervised.World]:
    with supervised.world() as made:
        yield made


@pytest.fixture
def served(supervised_host: supervised.World) -> Pair:
    """One host with the releases `OLD`, `NEW` and `BAD`; nothing serves yet, and `BAD` answers 500."""
    real = supervised_host
    patient = replace(real.instance.health, within=60.0)
    for name in (OLD, NEW):
        real.release(name, health=patient)
    real.release(BAD, supervised.SICK)
    real.tune(within=60.0)
    scripted = Hosts(topology(1, 0, port=real.instance.port), None)
    scripted.bad.add((BAD, "web1"))

    def call(operation: str, body: bytes = b"", **args: Any) -> dict[str, Any]:
        context = Context(body=iter([body]), identity="me@here")
        response: dict[str, Any] = find(operation)(context, {"site": real.site.to_wire(), **args})
        return response

    return Pair(call, scripted, "web1")


@pytest.mark.timeout(900)  # many calls of supervisorctl, each a second or more on a busy machine
def test_an_instance_changes_is_proven_and_stops(served: Pair, supervised_host: supervised.World) -> None:
    real = supervised_host
    wire = real.instance.to_wire()
    switch: dict[str, Any] = {"run": "r1", "instance": wire, "via": "push", "reload": None}
    look = {"instances": [wire], "started_after": None}
    assert not served.ask("instance.prove", release=None, **look)["slots"][str(real.instance.port)]["proven"]
    assert served.ask("instance.switch", release=OLD, previous=None, **switch)["changed"]
    assert not served.ask("instance.switch", release=OLD, previous=OLD, **switch)["changed"]
    served.ask("instance.switch", release=OLD, previous=OLD, **{**switch, "via": "reload"})
    served.ask("instance.prove", release=OLD, **look)
    served.ask("instance.prove", release=NEW, **look)
    served.ask("instance.prove", release=None, measure=True, **look)
    real.tune(within=2.0)
    impatient = {**switch, "instance": real.instance.to_wire()}
    assert served.ask("instance.switch", release=BAD, previous=OLD, **impatient)["error"] == "unhealthy"
    served.ask("instance.switch", release=NEW, previous=OLD, **switch)
    promote = {"run": "r1", "via": "push", "ports": [real.instance.port]}
    assert served.ask("site.promote", release=OLD, **promote)["error"] == "mixed"
    assert served.ask("site.promote", release=NEW, **promote)["changed"]
    assert not served.ask("site.promote", release=NEW, **promote)["changed"]
    log = {"journal": "", "file": real.home + "/app.log", "port": real.instance.port, "index": 0, "cursor": None}
    assert served.ask("logs.read", logs={"web1-8000": log}, lines=5)["logs"]["web1-8000"]["lines"]
    assert served.ask("belongings.remove", run="r1", who="me", balances=False)["error"] == "in_use"
    assert served.ask("instance.stop", run="r1", instance=wire)["stopped"]
    assert not served.ask("instance.stop", run="r1", instance=wire)["stopped"]
    assert served.ask("belongings.remove", run="r1", who="me", balances=False)["kept"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Pair]:
    """A host where nothing runs, known to the scripted fleet as one without a release."""
    real = release_site.Host(tmp_path)
    real.site = replace(real.site, prefix=str(tmp_path))
    real.set_up()
    Path(real.site.state).mkdir()
    yield Pair(real.call, Hosts(topology(1, 0), None), "web1")
    real.call("lock.release")


LIVES = "p=$(cat {folder}/pid) && grep -q 'State:.[^Z]' /proc/$p/status"
VERBS = {
    "start": "cd -P {root}/processes/worker@1; setsid .deploy-processes/worker > {folder}/log & echo $! > {folder}/pid",
    "stop": f"{LIVES} && kill $p; while {LIVES}; do sleep 0.01; done",
    "pid": f"{LIVES} && echo $p || echo 0",
}


@pytest.fixture
def worker(site: Pair, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The process `worker@1` of three releases, of which `BAD` ends soon. Its supervisor is a few commands."""
    root = tmp_path / "srv/shop"
    for release, code in ((OLD, "exec sleep 600"), (NEW, "exec sleep 600"), (BAD, "sleep 0.5")):
        script = root / "releases" / release / COMMANDS / "worker"
        script.parent.mkdir(parents=True)
        script.write_text(f"#!/bin/sh\n{code}\n")
        script.chmod(0o755)
        (root / "releases" / release / MARKER).write_text(json.dumps({"created": 1}))
    commands: dict[str, Any] = {
        verb: ("sh", "-c", text.format(root=root, folder=tmp_path)) for verb, text in VERBS.items()
    }
    process = Process("worker", 1, Verbs("shop-worker-1", log=("true",), **commands), graceful=5.0, steady=2.0)
    site.scripted.bad.add((BAD, "web1"))
    yield process.to_wire()
    subprocess.run(commands["stop"], capture_output=True)


def test_a_process_changes_and_comes_back(site: Pair, worker: dict[str, Any]) -> None:
    move = {"run": "r1", "process": worker, "via": "push"}
    site.ask("processes.state", processes=[worker])
    assert site.ask("processes.switch", release=OLD, **move)["changed"]
    assert not site.ask("processes.switch", release=OLD, **move)["changed"]
    assert site.ask("processes.state", processes=[worker])["processes"]["worker@1"]["running"]
    assert site.ask("processes.switch", release=BAD, **move)["detail"] == {"restored": True, "serving": OLD}
    site.ask("processes.switch", release=NEW, **move)


def test_a_release_is_built_and_removed(site: Pair, tmp_path: Path) -> None:
    real = release_site.Host(tmp_path)
    real.site = replace(real.site, prefix=str(tmp_path))
    real.push(OLD)
    shipped = manifest.scan(release_site.write(tmp_path / "source", release_site.FILES))
    site.ask("release.begin", shipped.as_bytes(), release=NEW)
    given = {"files": {}, "meta": {"content": "c", "files": "f"}, "venv": release_site.NONE, "env": {}}
    assert site.ask("release.build", release=NEW, run=release_site.RUN, **given)["built"]
    marker = site.real("release.marker", release=OLD)["marker"]
    scripted = site.scripted.call("web1", "release.marker", {"release": OLD})["marker"]
    assert set(scripted) <= {*marker, "files", "requirements", "resolution"}
    site.ask("release.prune", keep=1, protect=[], weigh=True, dry_run=True)
    site.ask("release.prune", keep=1, protect=[])
    site.ask("venv.inspect", python=sys.executable)


def test_what_a_site_notes(site: Pair) -> None:
    about = {"run": "r1", "who": "me@here", "command": "push", "release": OLD}
    site.ask("site.note_plan", run="r1", plan={"command": "push", "release": OLD})
    site.ask("site.note_begin", **about)
    site.ask("site.note_end", **about, outcome="succeeded", why="", duration_s=1.0)
    site.ask("site.plan")
    site.ask("site.ledger", limit=None)
    assert isinstance(site.scripted, Hosts)
    assert site.ask("secrets.digest")["digest"]
    site.scripted.secrets_differ = True
    assert site.ask("secrets.write", b"export KEY='value'\n", keep=True) == {"changed": True}
    assert site.ask("secrets.restore") == {"changed": True}
    site.ask("secrets.settle")
    site.ask("maintenance.state")


def test_the_lock_is_taken_asked_for_and_given_back(site: Pair, tmp_path: Path) -> None:
    take = {"run": "r1", "who": "me@here", "wait": 0, "command": "push"}
    assert site.ask("lock.take", **take) == {"taken": True}
    site.ask("lock.asked", run="r1")
    site.ask("host.survey", brief=True)
    assert site.ask("lock.release") == {"released": True}
    assert site.ask("lock.release") == {"released": False}
    assert isinstance(site.scripted, Hosts)
    site.scripted.holder = "r9"
    path = tmp_path / "srv/shop/.deploy/lock"
    with path.open("w+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(json.dumps({"who": "ana@ci", "run": "r9", "command": "push", "since": 1.0, "pid": 7}))
        other.flush()
        assert site.ask("lock.take", **take)["error"] == "locked"
    site.scripted.holder = None
    assert str(path) not in lock._held


def test_a_host_is_looked_at(site: Pair, tmp_path: Path) -> None:
    real = release_site.Host(tmp_path)
    real.site = replace(real.site, prefix=str(tmp_path))
    real.push(OLD)
    real.call("site.promote", run="r1", release=OLD, via="push", ports=[])
    words = {"ports": [8000], "address": "", "sockets": {}, "tools": ["uv"], "python_versions": ["3.11"], "peers": []}
    answer = site.ask("host.survey", **words)
    assert answer["releases"][0]["complete"] is True
    site.ask("command.run", command=["true"], timeout=10.0)
    verbs = Verbs("shop-nightly.timer", ("true",), ("true",), (), (), state=("echo", "next=1800000000"))
    site.ask("schedules.state", schedules=[Schedule("nightly", verbs, 60.0).to_wire()])


def test_files_of_a_host(site: Pair, tmp_path: Path) -> None:
    wire = to_wire(File(str(tmp_path / "etc/shop.conf"), "content\n"))
    files = {"resources": [wire], "handlers": {}, "replace": False}
    site.ask("resource.apply", dry_run=True, **files)
    site.ask("resource.apply", dry_run=False, keep="r1", part="units", **files)
    site.ask("resource.restore", run="r2", parts=["units"], new=True)
    site.scripted.call("web1", "resource.settle", {})
    assert site.real("resource.settle") == {"changed": True}
    site.ask("resource.settle")


def test_what_another_tool_runs_is_looked_for_and_led(site: Pair, tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text("frontend a\n  default_backend old\nbackend old\n  server one 192.0.2.1:8000\n")
    site.ask("adopting.units", ports=[1])
    front = {"path": str(config), "places": {"192.0.2.1:8000": "web1"}, "backend": "shop-prod"}
    real = site.ask("adopting.front", kind="haproxy", **front)
    assert real["diff"] and not real["led"]
    allowed = {"path": str(config), "diff": real["diff"], "backends": real["backends"]}
    site.real("adopting.record", run="r1", who="me", units=[], front={**front, **allowed, "kind": "haproxy"})
    assert site.ask("adopting.move", run="r1", handler=[["true"]])["changed"]
    assert not site.ask("adopting.move", run="r1", handler=[["true"]])["changed"]
    assert site.ask("adopting.front", kind="haproxy", **front)["led"]
    site.ask("adopting.retire", run="r1", patience=0.0)


# -- a balancer's host -------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def balancer(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A balancer of two servers that serve. Its watchdog, a process that outlives the agent, is not started."""
    monkeypatch.setattr(watchdog.Watch, "_start", lambda self: None)

    def call(operation: str, body: bytes = b"", **args: Any) -> dict[str, Any]:
        context = Context(identity="me@here")
        response: dict[str, Any] = find(operation)(context, {"site": place.site.to_wire(), **args})
        return response

    scripted = Hosts(topology(2, 1))
    scripted.pools["lb1"] = {
        name: slot for name, slot in scripted.pools["lb1"].items() if name in ("web1-8000", "web2-8000")
    }
    yield Pair(call, scripted, "lb1")
    watch = watchdog._watches.pop((place.site.state, "run-1"), None)
    if watch is not None:
        watch._ended.set()


def test_servers_are_drained_and_admitted(balancer: Pair, place: Place) -> None:
    about = {"run": "run-1", "driver": place.driver}
    web1, web2 = {"servers": ["web1-8000"]}, {"servers": ["web2-8000"]}
    drain = {"timeout": 5.0, "reason": ""}
    admit: dict[str, Any] = {"wait": 0.3, "by": "run", "force": False, "instead": {}, "held": {}}
    state = {"driver": place.driver}
    balancer.ask("balancer.state", **state)
    assert balancer.ask("balancer.watch", bound=60.0, **about)["armed"]
    assert balancer.ask("balancer.watch", bound=60.0, out=["web1-8000"], **about)["error"] == "not_out"
    assert balancer.ask("balancer.drain", by="run", **web1, **drain, **about)["servers"]["web1-8000"]["drained"]
    assert balancer.ask("balancer.state", **state)["servers"]["web1-8000"]["state"] == "DRAIN"
    balancer.ask("balancer.watch", bound=60.0, out=["web1-8000"], **about)
    assert balancer.ask("balancer.admit", **web1, **admit, **about)["servers"]["web1-8000"]["state"] == "UP"
    balancer.ask("balancer.drain", by="person", **web2, **drain, **about)
    held = balancer.ask("balancer.admit", **web2, **admit, **about)["servers"]["web2-8000"]["held"]
    assert held["by"] == "person"
    balancer.ask("balancer.state", **state)
    balancer.ask("balancer.admit", **web2, **{**admit, "force": True}, **about)
    record = {"by": "quarantine", "run": "run-0", "who": "me@here", "reason": "", "since": 1.0, "at": "192.0.2.2:8000"}
    balancer.ask("balancer.admit", servers=[], **{**admit, "held": {"web2-8000": record}}, **about)
    assert balancer.ask("balancer.state", **state)["servers"]["web2-8000"]["held"]["by"] == "quarantine"
    balancer.ask("balancer.retire", **web1, **about)  # which leaves no state of its own: commands know no maintenance
    assert balancer.real("balancer.state", **state)["servers"]["web1-8000"]["held"]["by"] == "spare"
    assert (
        balancer.scripted.out["web2-8000"] == "quarantine" and balancer.scripted.pools["lb1"]["web1-8000"].by == "spare"
    )
    balancer.ask("balancer.recover", **about)


def test_a_server_that_does_not_come_up_stays_out(balancer: Pair, place: Place) -> None:
    about = {"run": "run-1", "driver": place.driver}
    balancer.ask("balancer.drain", servers=["web1-8000"], by="run", timeout=5.0, reason="", **about)
    place.commands["admit"] = place.word + " unhealthy"
    balancer.scripted.serving["web1-8000"] = None
    admit = {"wait": 0.2, "by": "run", "force": False, "instead": {}, "held": {}, "driver": place.driver}
    answer = balancer.ask("balancer.admit", servers=["web1-8000", "web2-8000"], run="run-1", **admit)
    assert (answer["error"], answer["detail"]["late"]) == ("not_up", ["web1-8000"])


def test_what_a_balancer_is_asked_beside(balancer: Pair, place: Place, tmp_path: Path) -> None:
    assert balancer.ask("figures.read", driver=place.driver, last=5.0, ahead=0.0)["error"] == "no_figures"
    balancer.ask("maintenance.state")
    closed = {"address": "127.0.0.1", "port": supervised.free_port()}
    names = ["shop.example.com"]
    balancer.scripted.answers = {"shop.example.com": None}
    balancer.ask("domains.request", tls=False, names=names, path="/", wait=0, **closed)
    balancer.ask("tls.presented", names=names, **closed)
    assert not balancer.real("domains.connect", **closed)["open"]
    health = {"path": "/", "status": 200, "host": "", "headers": {}, "https": False, "within": 1.0, "timeout": 1.0}
    balancer.scripted.serving["web1-8000"] = None
    ask = {"servers": {"web1-8000": f"127.0.0.1:{closed['port']}"}, "health": health, "wait": 0}
    assert balancer.ask("servers.ask", **ask)["servers"]["web1-8000"]["refused"]


class Fine(http.server.BaseHTTPRequestHandler):
    """Answers 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Where a server answers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_servers_and_domains_that_answer(balancer: Pair, port: int) -> None:
    place = {"address": "127.0.0.1", "port": port}
    served = balancer.ask("domains.request", tls=False, names=["shop.example.com"], path="/", wait=0, **place)
    assert served["names"]["shop.example.com"] == {"status": 200, "why": "", "location": ""}
    assert balancer.ask("domains.connect", **place)["open"]
    health = {"path": "/", "status": 200, "host": "", "headers": {}, "https": False, "within": 1.0, "timeout": 5.0}
    ask = {"servers": {"web1-8000": f"127.0.0.1:{port}"}, "health": health, "wait": 0}
    assert balancer.ask("servers.ask", **ask)["servers"]["web1-8000"]["ok"]
    balancer.scripted.picky.add("web1-8000")
    picky = balancer.ask("servers.ask", **{**ask, "health": {**health, "status": 204}})
    assert not picky["servers"]["web1-8000"]["ok"]


def test_every_operation_of_the_scripted_fleet_is_compared() -> None:
    scripted = {name.replace("_", ".", 1) for kind in (World, Hosts) for name in vars(kind) if _is_operation(name)}
    source = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in scripted if f'"{name}"' not in source} == set()


def _is_operation(name: str) -> bool:
    try:
        find(name.replace("_", ".", 1))
    except OpError:
        return False
    return True


@pytest.mark.parametrize(
    ("real", "scripted", "expected"),
    [
        ({"a": 1}, {"a": 1.5}, []),
        ({"a": 1}, {"a": True}, [".a is True, and really 1"]),
        ({"a": None}, {"a": "x"}, []),
        ({"a": 1, "b": 2}, {"a": 1}, [".b is missing"]),
        ({"a": 1}, {"a": 1, "c": 2}, [".c is no key of a real answer"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}, {"b": "x"}]}, [".a[1].b is 'x', and really 1"]),
        (
            {"servers": {"one": {"ok": True}}},
            {"servers": {"one": {"ok": False}}},
            [".servers.one.*.ok is False, and really True"],
        ),
    ],
)
def test_differences_are_noticed(real: Any, scripted: Any, expected: list[str]) -> None:
    assert list(differences(real, scripted)) == expected
