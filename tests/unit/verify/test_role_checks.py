"""The checks of our own roles: green on a site that is as it should be, and each fails for what it is there for."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer import verify
from deployer.agent.model.supervision import Health, Instance, Verbs
from deployer.verify import CheckSet, Runner

ROLES = Path(__file__).parents[3] / "roles"
RELEASE = "20260102T030405-abc1234"


class App(http.server.BaseHTTPRequestHandler):
    """Answers its health path as the server's attributes say."""

    status, release = 200, RELEASE

    def do_GET(self) -> None:
        right = self.path == "/healthz" and self.headers["Host"] == "shop.example.com"
        self.send_response(type(self).status if right else 404)
        self.send_header("X-Release", type(self).release)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def app() -> Iterator[Any]:
    """A serving app; `app.port`, and `app.handler` to make it ill."""
    handler = type("OneApp", (App,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.port, server.handler = server.server_address[1], handler  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def variables(tmp_path: Path, app: Any) -> dict[str, Any]:
    """One instance on a site as it should be, as the rollout hands it to the checks."""
    root = tmp_path / "the site"
    for folder in (f"releases/{RELEASE}", "releases/other", "slots", ".deploy"):
        (root / folder).mkdir(parents=True)
    (root / f"releases/{RELEASE}/.deploy-release.json").write_text("{}")
    (root / f"slots/{app.port}").symlink_to(f"../releases/{RELEASE}")
    (root / "current").symlink_to(f"releases/{RELEASE}")
    (root / ".deploy/secrets.env").touch(mode=0o600)
    verbs = Verbs(f"shop@{app.port}.service", start=("false",), stop=("false",), pid=("echo", "4711"), log=("false",))
    health = Health("/healthz", status=200, host="shop.example.com")
    instance = Instance(0, app.port, "127.0.0.1", verbs, health)
    return {
        "app": "shop",
        "env": "prod",
        "release": RELEASE,
        "root": str(root),
        "user": "root",
        "prefix": "",
        "part": "web",
        "ports": [app.port],
        "address": "127.0.0.1",
        "instances": [instance.to_wire()],
        "processes": [],
        "schedules": [],
        "supervisor": "systemd",
        "python": sys.executable,
        "balancer": None,
    }


def outcomes(role: str, variables: dict[str, Any], runner: Runner) -> dict[str, tuple[str, str]]:
    """Test name → outcome and detail."""
    verification = verify.run([CheckSet([ROLES / role / "checks"], ["web1"], variables)], runner)
    return {result.check.partition("::")[2]: (result.outcome, result.detail) for result in verification.results}


def failed(role: str, variables: dict[str, Any], runner: Runner) -> dict[str, str]:
    return {name: why for name, (outcome, why) in outcomes(role, variables, runner).items() if outcome == "failed"}


@pytest.mark.parametrize("role", ["app", "common"])
def test_a_host_that_is_well_passes(role: str, variables: dict[str, Any], local: Runner) -> None:
    assert {outcome for outcome, _ in outcomes(role, variables, local).values()} == {"passed"}


def relink(name: str) -> Callable[[dict[str, Any]], None]:
    def change(variables: dict[str, Any]) -> None:
        link = Path(variables["root"]) / name.format(port=variables["ports"][0])
        target = os.readlink(link).replace(RELEASE, "other")
        link.unlink()
        link.symlink_to(target)

    return change


def does_not_run(variables: dict[str, Any]) -> None:
    variables["instances"][0]["verbs"]["pid"] = ["echo", "0"]


def nobody_listens(variables: dict[str, Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (Path(variables["root"]) / f"slots/{port}").symlink_to(f"../releases/{RELEASE}")
    variables["instances"][0]["port"] = port


def open_secrets(variables: dict[str, Any]) -> None:
    (Path(variables["root"]) / ".deploy/secrets.env").chmod(0o644)


def unsealed(variables: dict[str, Any]) -> None:
    (Path(variables["root"]) / f"releases/{RELEASE}/.deploy-release.json").unlink()


@pytest.mark.parametrize(
    ("change", "names", "words"),
    [
        (relink("slots/{port}"), {"test_its_slot_is_the_release"}, "releases/other"),
        (relink("current"), {"test_current_is_the_release"}, "releases/other"),
        (unsealed, {"test_the_release_is_complete"}, "was never finished"),
        (open_secrets, {"test_secrets_are_the_apps_alone"}, "others may read the secrets"),
        (
            lambda variables: variables.update(user="no-such-user"),
            {"test_the_apps_user_exists"},
            "no user no-such-user",
        ),
        (does_not_run, {"test_its_supervisor_runs_it"}, ".service does not run"),
        (nobody_listens, {"test_its_port_takes_connections", "test_its_health_path_answers"}, "refused"),
    ],
)
def test_what_is_wrong_with_the_app_is_named(
    variables: dict[str, Any], local: Runner, change: Any, names: set[str], words: str
) -> None:
    change(variables)
    found = failed("app", variables, local)
    assert set(found) == names
    assert all(words in why for why in found.values())


@pytest.mark.parametrize(
    ("ill", "words"), [({"status": 500}, "answers 500"), ({"release": "another"}, "answered by another")]
)
def test_an_app_that_answers_wrongly_is_found(
    variables: dict[str, Any], local: Runner, app: Any, ill: dict[str, Any], words: str
) -> None:
    for name, value in ill.items():
        setattr(app.handler, name, value)
    found = failed("app", variables, local)
    assert set(found) == {"test_its_health_path_answers"}
    assert words in found["test_its_health_path_answers"]


def test_a_host_that_cannot_be_deployed_to_is_found(variables: dict[str, Any], local: Runner, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho False 3.7.1\n")
    old.chmod(0o755)
    found = failed("common", variables | {"python": str(old)}, local)
    assert "Python 3.7.1 is older" in found["test_its_python_can_run_the_agent"]
    found = failed("common", variables | {"root": "/proc/no-such-place"}, local)
    assert set(found) == {"test_its_disk_has_room_for_the_next_release"}


def test_checks_that_do_not_apply_say_why(variables: dict[str, Any], local: Runner) -> None:
    lab = variables | {"prefix": "/tmp/lab", "supervisor": "supervisord"}
    assert outcomes("app", lab, local)["test_the_apps_user_exists"] == ("skipped", "a lab of processes has one user")
    sets = [CheckSet([ROLES / role / "checks"], ["web1"], lab) for role in ("systemd", "haproxy", "common")]
    skipped = {result.detail for result in verify.run(sets, local).results if result.outcome == "skipped"}
    assert skipped == {"this host's instances are not systemd's", "no HAProxy balances the app on this host"}


@pytest.mark.parametrize(
    ("says", "names"),
    [
        ("ActiveState=active SubState=running NeedDaemonReload=no enabled", set()),
        ("ActiveState=failed SubState=failed NeedDaemonReload=no enabled", {"test_its_unit_is_active"}),
        ("ActiveState=active SubState=running NeedDaemonReload=yes enabled", {"test_its_unit_is_the_one_on_the_disk"}),
        ("ActiveState=active SubState=running NeedDaemonReload=no disabled", {"test_its_unit_starts_at_boot"}),
    ],
)
def test_what_systemd_says_of_a_unit_counts(
    variables: dict[str, Any], local: Runner, says: str, names: set[str]
) -> None:
    """No systemd runs here: a shell function answers in its place, so this proves the checks' judgement only."""
    script = (
        f"systemctl() {{ case $1 in is-enabled) echo {says.split()[-1]};; "
        f'*) for word in {says}; do case " $* " in *" ${{word%%=*}} "*) echo $word;; esac; done;; esac; }}; '
    )
    assert set(failed("systemd", variables, lambda host, command: local(host, script + command))) == names


@pytest.mark.parametrize(("says", "outcome"), [("enabled", "passed"), ("disabled", "failed"), ("unused", "skipped")])
def test_a_process_and_a_schedule_in_use_start_at_boot(
    variables: dict[str, Any], local: Runner, says: str, outcome: str
) -> None:
    variables["processes"] = [{"name": "worker", "number": 1, "verbs": {"unit": "shop-worker@1.service"}}]
    variables["schedules"] = [{"name": "nightly", "verbs": {"unit": "shop-nightly.timer"}}]
    for link in ("processes/worker@1", "schedules/nightly") if says != "unused" else ():
        path = Path(variables["root"]) / link
        path.parent.mkdir()
        path.symlink_to(f"../releases/{RELEASE}")
    script = f"systemctl() {{ echo {says}; }}; "
    found = outcomes("systemd", variables, lambda host, command: local(host, script + command))
    assert found["test_its_processes_start_at_boot"][0] == outcome
    assert found["test_its_schedules_start_at_boot"][0] == outcome


@pytest.mark.parametrize(
    ("held", "active", "enabled", "fine"),
    [
        (True, "active", "enabled", True),
        (True, "active", "disabled", False),
        (True, "inactive", "disabled", False),
        (False, "inactive", "disabled", True),
        (False, "active", "enabled", False),
    ],
)
def test_a_port_is_held_as_the_strategy_says_or_it_is_told(
    variables: dict[str, Any], local: Runner, held: bool, active: str, enabled: str, fine: bool
) -> None:
    [instance] = variables["instances"]
    instance["socket"], instance["verbs"]["socket"] = held, "shop@8000.socket"
    script = (
        "systemctl() { case $2 in *.socket) ;; *) echo enabled; return;; esac; "
        f"case $1 in is-active) echo {active};; is-enabled) echo {enabled};; esac; }}; "
    )
    found = outcomes("systemd", variables, lambda host, command: local(host, script + command))
    assert (found["test_its_port_is_held_as_the_strategy_says"][0] == "passed") is fine


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[list[str]]:
    """A real supervisord with a program that runs and one that does not; yields the words of its supervisorctl."""
    config = tmp_path / "supervisord.conf"
    config.write_text(
        "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
        f"pidfile={tmp_path}/pid\nchildlogdir={tmp_path}\n"
        "[unix_http_server]\nfile=%(here)s/s.sock\n"
        "[supervisorctl]\nserverurl=unix://%(here)s/s.sock\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        "[program:shop-8000]\ncommand=sleep 60\nstartsecs=0\n"
        "[program:shop-8001]\ncommand=sleep 60\nautostart=false\n"
    )
    words = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(config)]
    daemon = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 20
    while b"RUNNING" not in subprocess.run([*words, "status"], capture_output=True).stdout:
        assert time.monotonic() < deadline and daemon.poll() is None
        time.sleep(0.05)
    yield words
    daemon.terminate()
    daemon.wait()


def test_what_supervisord_says_of_a_program_counts(
    variables: dict[str, Any], local: Runner, supervised: list[str]
) -> None:
    (instance,) = variables["instances"]
    variables["supervisor"] = "supervisord"
    for program, words in (("shop-8000", None), ("shop-8001", "STOPPED"), ("shop-8002", "no such process")):
        instance["verbs"]["pid"] = [*supervised, "pid", program]
        found = failed("supervisord", variables, local)
        assert bool(found) == bool(words)
        assert words is None or words in found["test_its_program_is_running"]


@pytest.fixture
def balanced(tmp_path: Path, app: Any, variables: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A real HAProxy before the app and a spare slot; yields the checks' variables."""
    haproxy = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
    if haproxy is None:
        pytest.skip("HAProxy is not installed here")
    folder = tmp_path / "etc/haproxy/deploy"
    folder.mkdir(parents=True)
    address = tmp_path / "h.sock"
    (folder / "00-deploy.cfg").write_text(
        f"global\n stats socket {address} level admin\n"
        "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
        "backend shop\n option httpchk GET /healthz\n http-check send hdr Host shop.example.com\n"
        " default-server check inter 50ms fall 1 rise 1\n"
        f" server web1-8000 127.0.0.1:{app.port}\n server web1-8500 127.0.0.1:1 disabled\n"
    )
    daemon = subprocess.Popen([haproxy, "-db", "-q", "-f", str(folder)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not address.exists():
        assert time.monotonic() < deadline and daemon.poll() is None
        time.sleep(0.02)
    balancer = {"kind": "haproxy", "socket": str(address), "backend": "shop"}
    yield variables | {"prefix": str(tmp_path), "balancer": balancer}
    daemon.terminate()
    daemon.wait()


def test_what_haproxy_says_of_its_servers_counts(
    balanced: dict[str, Any], local: Runner, app: Any, tmp_path: Path
) -> None:
    assert failed("haproxy", balanced, local) == {}

    app.handler.status = 500
    expected = {"test_its_servers_pass_their_health_checks", "test_somebody_serves"}
    deadline = time.monotonic() + 10
    while set(found := failed("haproxy", balanced, local)) != expected:
        assert time.monotonic() < deadline, found
    assert "web1-8000" in found["test_its_servers_pass_their_health_checks"]

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(balanced["balancer"]["socket"])
        connection.sendall(b"set server shop/web1-8000 state drain\n")
        connection.recv(100)
    assert set(failed("haproxy", balanced, local)) == {"test_somebody_serves"}, "who is out may be down"

    config = tmp_path / "etc/haproxy/deploy/00-deploy.cfg"
    config.write_text(config.read_text() + " no-such-keyword\n")
    assert "no-such-keyword" in failed("haproxy", balanced, local)["test_its_configuration_is_valid"]

    gone = balanced | {"balancer": {**balanced["balancer"], "socket": str(tmp_path / "gone.sock")}}
    assert "does not answer on its socket" in outcomes("haproxy", gone, local)["test_somebody_serves"][1]
