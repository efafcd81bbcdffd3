"""Everything that can stand in the way of a push, done to one real host while users are there.

Each ends at its own gate: it says which host, at which step, why, and what to type next. Nobody's request fails, and
afterwards every instance serves what it served before.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gates import FRESH, PROCESSES, SETTINGS, WEB, Fleet, told
from support.labs import fresh_name
from support.loopback import keygen
from support.project import Project
from support.traffic import Traffic, traffic

from deployer.lab import LabSpec, down, up

pytestmark = pytest.mark.machines

BALANCERS = ("lb1", "lb2")
IMPATIENT = {"health": {"within": "10s"}}
WRITTEN = "find /srv/shop /etc/haproxy /etc/systemd/system -newer /tmp/stamp -type f -not -path '*/.deploy/lock' "
WRITTEN += "-not -path '*/.deploy/ledger.jsonl'"  # every run is in the history


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    name = fresh_name()
    folder = tmp_path_factory.mktemp("gates")
    try:
        lab = up(LabSpec(name=name, kind="machines", hosts=4, balancers=2), print)
        made = Fleet(lab, Project(folder / "shop", name, settings=SETTINGS), folder)
        shutil.copy(made.project.folder / "deploy.yaml", folder / "deploy.yaml")
        made.shell("web2", "mount -t tmpfs -o size=400m tmpfs /srv")  # a disk of its own, to be filled
        made.deploy("setup")
        made.release = made.deploy("push").release
        yield made
    finally:
        down(name, print)


class TestWhileUsersAreThere:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def users(cls, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
        """Mixed traffic through the first balancer, from the first of these tests to the last."""
        with traffic(fleet.lab.address, tmp_path_factory.mktemp("users") / "log", rate=20) as running:
            yield running
        running.demand(proven={fleet.release}, at_least=60, rate=15)

    @pytest.fixture(autouse=True)
    def unnoticed(self, fleet: Fleet, users: Traffic) -> Iterator[None]:
        yield
        fleet.require_whole(within=30)
        receipt = users.prober.snapshot()
        assert (receipt.failed, receipt.stale) == (0, 0), receipt

    # -- nothing to do, nothing to do it with ----------------------------------------------------------------------

    def test_the_same_push_again_changes_nothing_and_restarts_nothing(self, fleet: Fleet) -> None:
        balancer = PROCESSES.format(unit="haproxy.service")
        hosts = (*WEB, *BALANCERS)
        before = fleet.processes(), [fleet.shell(host, balancer) for host in BALANCERS]
        assert all(len(pids) >= 3 for pids in before[0].values()), "a parent and two workers each"
        for host in hosts:
            fleet.shell(host, "touch /tmp/stamp")
        done = fleet.deploy("push")
        assert (done.last["outcome"], done.release) == ("unchanged", fleet.release)
        assert (fleet.processes(), [fleet.shell(host, balancer) for host in BALANCERS]) == before
        assert {host: fleet.shell(host, WRITTEN) for host in hosts} == dict.fromkeys(hosts, "")

    def test_a_host_that_was_never_set_up(self, fleet: Fleet) -> None:
        fleet.refused(
            3,
            "not_set_up",
            host=FRESH,
            step="survey",
            says="never set up",
            next_=f"deploy setup {fleet.lab.name}",
            inventory=fleet.inventory(fresh=True),
        )

    # -- the way to a host ------------------------------------------------------------------------------------------

    def test_a_wrong_key(self, fleet: Fleet, tmp_path: Path) -> None:
        key = keygen(tmp_path / "another")
        changed = fleet.inventory(web2={"ansible_ssh_private_key_file": str(key)})
        error = fleet.refused(
            3,
            "auth",
            host="web2",
            step="connect",
            says="rejected the login of root",
            next_="ssh-copy-id",
            inventory=changed,
        )
        assert str(key) in error["message"]

    def test_a_host_whose_key_nobody_knows(self, fleet: Fleet, tmp_path: Path) -> None:
        (tmp_path / "known_hosts").write_text("")
        fleet.refused(
            3,
            "key_unknown",
            host="web2",
            step="connect",
            says="SHA256:",
            next_=f"deploy trust {fleet.lab.name}",
            inventory=fleet.inventory(web2={"deploy_known_hosts": str(tmp_path / "known_hosts")}),
        )

    def test_a_host_that_shows_another_key(self, fleet: Fleet, tmp_path: Path) -> None:
        public = keygen(tmp_path / "another").with_suffix(".pub").read_text()
        (tmp_path / "known_hosts").write_text(f"{fleet.lab.hosts['web2']['host']} {public}")
        fleet.refused(
            3,
            "key_changed",
            host="web2",
            step="connect",
            says="the host key changed",
            next_=f"deploy trust {fleet.lab.name} --replace",
            inventory=fleet.inventory(web2={"deploy_known_hosts": str(tmp_path / "known_hosts")}),
        )

    def test_a_host_that_is_down(self, fleet: Fleet) -> None:
        inventory = fleet.inventory(fresh=True, web4={"ansible_ssh_common_args": "-o ConnectTimeout=2"})
        fleet.lab.power_off(FRESH)
        try:
            fleet.refused(
                3, "timeout", host=FRESH, step="connect", says="no answer", next_="is the host up", inventory=inventory
            )
        finally:
            fleet.lab.power_on(FRESH)

    def test_a_host_that_serves_and_does_not_answer_ssh(self, fleet: Fleet) -> None:
        inventory = fleet.inventory(web1={"ansible_ssh_common_args": "-o ConnectTimeout=2"})
        fleet.lab.cut("web1")
        try:
            fleet.refused(
                3, "timeout", host="web1", step="connect", says="no answer", next_="firewall", inventory=inventory
            )
            shown = fleet.deploy("status", inventory, expect=3)
        finally:
            fleet.lab.mend("web1")
        states = {host: found["instances"]["0"]["state"] for host, found in shown.last["hosts"].items()}
        assert states == {"web1": "its host does not answer", "web2": "proven", "web3": "proven"}

    # -- balancers --------------------------------------------------------------------------------------------------

    def test_a_balancer_that_is_stopped(self, fleet: Fleet) -> None:
        fleet.shell("lb2", "systemctl stop haproxy")
        try:
            fleet.refused(
                3,
                "balancer_down",
                host="lb2",
                step="balancer",
                says="HAProxy cannot be asked",
                next_="systemctl status haproxy",
            )
        finally:
            fleet.shell("lb2", "systemctl start haproxy")

    @pytest.mark.more
    def test_a_balancers_host_that_is_down(self, fleet: Fleet) -> None:
        inventory = fleet.inventory(lb2={"ansible_ssh_common_args": "-o ConnectTimeout=2"})
        fleet.lab.power_off("lb2")
        try:
            fleet.refused(
                3, "timeout", host="lb2", step="connect", says="no answer", next_="is the host up", inventory=inventory
            )
        finally:
            fleet.lab.power_on("lb2")

    # -- what a host lacks ------------------------------------------------------------------------------------------

    def test_no_python(self, fleet: Fleet) -> None:
        fleet.shell(FRESH, "mv /usr/bin/python3 /usr/bin/python3.away")
        try:
            fleet.refused(
                3,
                "no_python",
                host=FRESH,
                step="connect",
                says="Python was not found: python3",
                next_="apt install python3",
                inventory=fleet.inventory(fresh=True),
            )
        finally:
            fleet.shell(FRESH, "mv /usr/bin/python3.away /usr/bin/python3")

    @pytest.mark.more
    def test_a_python_that_is_not_where_the_inventory_says(self, fleet: Fleet) -> None:
        fleet.refused(
            3,
            "no_python",
            host="web2",
            step="connect",
            says="/opt/none/python3",
            next_="ansible_python_interpreter",
            inventory=fleet.inventory(web2={"ansible_python_interpreter": "/opt/none/python3"}),
        )

    def test_a_user_who_may_not_write_the_site(self, fleet: Fleet) -> None:
        inventory = fleet.inventory(web2={"ansible_user": "plain"})
        fleet.refused(
            3,
            "not_writable",
            host="web2",
            step="survey",
            says="plain may not write /srv/shop",
            next_="ansible_become",
            inventory=inventory,
        )

    def test_sudo_without_its_password_with_a_wrong_one_and_with_the_right_one(self, fleet: Fleet) -> None:
        inventory = fleet.inventory(web2={"ansible_user": "plain", "ansible_become": True})
        asks = fleet.refused(
            3, "sudo", host="web2", step="connect", says="sudo requires a password", next_="-K", inventory=inventory
        )
        assert "DEPLOY_SUDO_PASSWORD" in asks["hint"]
        fleet.refused(
            3,
            "sudo",
            host="web2",
            step="connect",
            says="sudo rejected the password",
            next_="DEPLOY_SUDO_PASSWORD",
            inventory=inventory,
            DEPLOY_SUDO_PASSWORD="not the one",
        )
        password = (Path(fleet.lab.folder) / "plain.password").read_text().strip()
        done = fleet.deploy("push", inventory, DEPLOY_SUDO_PASSWORD=password)
        assert done.last["outcome"] == "unchanged"

    @pytest.mark.parametrize(
        ("left_mb", "exit_status", "step"), [(0, 3, "lock"), (10, 5, "ship")], ids=["full", "too-small"]
    )
    def test_a_full_disk(self, fleet: Fleet, left_mb: int, exit_status: int, step: str) -> None:
        fleet.shell("web2", "dd if=/dev/zero of=/srv/filler bs=64k 2>/dev/null; true")
        fleet.shell("web2", f"truncate -s -{left_mb}M /srv/filler")
        try:
            with fleet.version(2):
                fleet.refused(
                    exit_status, "no_space", host="web2", step=step, says="the disk is full", next_="make room"
                )
        finally:
            fleet.shell("web2", "rm /srv/filler")

    def test_a_port_that_somebody_else_has(self, fleet: Fleet) -> None:
        fleet.shell("web2", "systemd-run -q --unit=foreign python3 -m http.server 8001")
        try:
            until_listening(fleet, "web2", 8001)
            with fleet.version(2, {"instances": 2}):
                error = fleet.refused(
                    3, "port_taken", host="web2", step="survey", says="port 8001", next_="choose another `port:`"
                )
            assert "http.server" in error["message"]
        finally:
            fleet.shell("web2", "systemctl stop foreign")

    # -- the app ----------------------------------------------------------------------------------------------------

    def test_an_app_path_that_the_code_does_not_have(self, fleet: Fleet) -> None:
        with fleet.version(2, {"runtime": {**SETTINGS["runtime"], "app": "main:nothing"}}):
            error = fleet.refused(2, "settings", host=None, step="plan", says="has no nothing", next_="main:app")
            lines = (fleet.project.folder / "deploy.yaml").read_text().splitlines()
        assert "main:nothing" in lines[error["line"] - 1]

    @pytest.mark.more
    def test_an_app_path_in_a_module_that_is_not_there(self, fleet: Fleet) -> None:
        # A package might bring the module where the server is set, so the host is the one to tell.
        with fleet.version(2, {"runtime": {**SETTINGS["runtime"], "app": "shopp:app", "server": "uvicorn"}}):
            error = fleet.refused(
                5, "check_failed", host="web1", step="build", says="No module named 'shopp'", next_="deploy push"
            )
        assert error["log"][-1] == "ModuleNotFoundError: No module named 'shopp'"

    def test_requirements_without_the_server(self, fleet: Fleet) -> None:
        with fleet.version(2, requirements__txt="starlette>=0.40\nwebsockets>=12\n"):
            fleet.refused(2, "missing_server", host=None, step="plan", says="needs uvicorn", next_="with: [uvicorn]")

    def test_an_app_that_cannot_be_imported(self, fleet: Fleet) -> None:
        with fleet.version(2, BREAK="import\n"):
            error = fleet.refused(
                5, "check_failed", host="web1", step="build", says="ImportError: broken on purpose", next_="deploy push"
            )
        assert any("breakage.py" in line for line in error["log"])
        assert not any("importlib" in line for line in error["log"])

    def test_an_app_that_does_not_start(self, fleet: Fleet) -> None:
        with fleet.version(2, BREAK="boot\n"):
            error = fleet.failed("did_not_start", step="switch", says="did not start", next_="mend what its log says")
        assert "RuntimeError: broken on purpose: BREAK says boot" in "\n".join(error["log"])

    def test_an_app_that_is_not_healthy(self, fleet: Fleet) -> None:
        # It has to listen within that time, on a busy machine too, or the error is another one.
        with fleet.version(2, {"health": {"within": "25s"}}, BREAK="health\n"):
            error = fleet.failed("unhealthy", step="switch", says="/healthz answered 500", next_="health path")
        assert "Application startup complete." in "\n".join(error["log"]), "the app's own words, beside the checks"

    @pytest.mark.more
    def test_an_app_that_takes_longer_to_start_than_it_may(self, fleet: Fleet) -> None:
        with fleet.version(2, IMPATIENT, BREAK="slow\n"):
            error = fleet.failed(
                "did_not_start", step="switch", says="nothing listens on 127.0.0.1:8000, 10 s", next_="health.within"
            )
        assert "Waiting for application startup." in "\n".join(error["log"])


def test_an_app_that_dies_after_it_was_admitted(fleet: Fleet, tmp_path: Path) -> None:
    """What is under way in a process that dies is lost with it; short requests are asked again elsewhere."""
    log = tmp_path / "log"
    with traffic(fleet.lab.address, log, mix="get", rate=20) as users, fleet.version(2, BREAK="dies\n"):
        done = fleet.deploy("push", expect=5)
    # Either a worker is found gone and another in its place, or there is nobody at that moment.
    one_of_them = done.error["code"] == "died"
    says = "died while it was watched" if one_of_them else "no longer serves"
    code = "died" if one_of_them else "rollout"
    error = told(done, code, host="web1", step="soak", says=says, next_="everything was put back")
    assert error["log"], "the app's own last lines"
    fleet.require_whole(within=30)
    assert users.receipt is not None and users.receipt.failed == 0, users.receipt


def until_listening(fleet: Fleet, host: str, port: int, within: float = 20.0) -> None:
    """Waits until something on the host listens on the port."""
    ends = time.monotonic() + within
    while f":{port} " not in fleet.shell(host, "ss -Hltn"):
        assert time.monotonic() < ends, f"nothing listens on {port}"
        time.sleep(0.1)
