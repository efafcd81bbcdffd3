"""Schedules where supervisord is: what cron is told, and the script that says whether it is time, run as it is."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployer import supervisors
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File
from deployer.errors import SettingsError
from deployer.settings.cron import read, zone
from deployer.supervisors import UnitSpec
from deployer.supervisors.base import ScheduleSpec

GOLDEN = Path(__file__).parent / "golden"
ADAPTER = supervisors.get("supervisord")
# The host's clock, as a program that stands before the real one in PATH.
DATE = """#!/bin/sh
[ "$1" = +%s ] && { echo "$NOW"; exit; }
exec /bin/date "$@"
"""


def resources(site: Site, line: str, name: str = "Europe/Berlin", timeout: float = 1200.0) -> list[File]:
    """The script and the file for cron."""
    spec = UnitSpec(site, (8000,), 30.0, schedules=(ScheduleSpec("nightly", read(line), name, timeout),))
    made = ADAPTER.resources(spec)
    assert any(isinstance(item, Directory) and item.path == f"/var/log/{site.app}-schedules" for item in made)
    return [item for item in made if isinstance(item, File)][1:]


class Host:
    """A site with one release that has the schedule, and the script as cron would call it."""

    def __init__(self, folder: Path) -> None:
        self.site = Site("shop", "prod", str(folder / "the shop's 5%"))
        self.folder = folder
        release = Path(self.site.release("r1"))
        (release / ".deploy-processes").mkdir(parents=True)
        (release / ".deploy-within").write_text('export DEPLOY_RELEASE=r1\nexec "$@"\n')
        self.job('echo "ran in $(basename "$PWD") as $DEPLOY_SCHEDULE $DEPLOY_RELEASE"')
        Path(self.site.schedules).mkdir()
        Path(self.site.schedule("nightly")).symlink_to("../releases/r1")
        (folder / "logs").mkdir()
        (folder / "bin").mkdir()
        (folder / "bin/date").write_text(DATE)
        (folder / "bin/date").chmod(0o755)

    def job(self, script: str) -> None:
        (Path(self.site.release("r1")) / ".deploy-processes/nightly").write_text(script + "\n")

    def script(self, line: str, name: str = "UTC", timeout: float = 60.0) -> str:
        text = resources(self.site, line, name, timeout)[0].content
        path = self.folder / "script.sh"
        path.write_text(text.replace("/var/log/shop-schedules", str(self.folder / "logs")))
        return str(path)

    def call(self, script: str, now: float) -> None:
        done = subprocess.run(["/bin/sh", script], capture_output=True, text=True, env=self.env(now), timeout=60)
        assert not done.stdout and not done.stderr and done.returncode in (0, 1), done

    def env(self, now: float) -> dict[str, str]:
        return {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "NOW": f"{now:.0f}"}

    def log(self) -> list[str]:
        path = self.folder / "logs/nightly.log"
        return path.read_text().splitlines() if path.exists() else []

    def state(self) -> dict[str, str]:
        """What the verb `state` says, with a cron that runs."""
        *command, _, _, _ = ADAPTER.schedule_verbs(self.site, "nightly").state
        (self.folder / "crond.pid").write_text(str(os.getpid()))
        command[2] = command[2].replace("/run/crond.pid", str(self.folder / "crond.pid"))
        files = [str(self.folder / "script.sh"), str(self.folder / "script.sh"), str(self.folder / "logs/nightly")]
        done = subprocess.run([*command, *files], capture_output=True, text=True, check=True)
        assert not done.stderr
        return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    if not shutil.which("flock"):
        pytest.skip("no flock here")
    yield Host(tmp_path)


def test_the_files_are_as_they_were() -> None:
    script, asked = resources(Site("shop", "prod", "/srv/shop", user="shop"), "30 4 1,15 * 5")
    assert (script.path, asked.path) == ("/srv/shop/.deploy/schedule-nightly.sh", "/etc/cron.d/shop-nightly")
    for file, name in ((script, "schedule-nightly.sh"), (asked, "cron.d-shop-nightly")):
        if os.environ.get("DEPLOY_GOLDEN") == "write":
            (GOLDEN / name).write_text(file.content)
        assert file.content == (GOLDEN / name).read_text()


def test_a_percent_sign_means_nothing_to_cron() -> None:
    _, asked = resources(Site("shop", "prod", "/srv/my 5%", user="shop"), "@daily", "UTC")
    assert (
        asked.content.splitlines()[-1] == "0,15,30,45 * * * * shop /bin/sh '/srv/my 5\\%/.deploy/schedule-nightly.sh'"
    )


@pytest.mark.parametrize("seed", range(6))
def test_it_runs_when_it_is_time_by_its_own_clock_and_never_else(host: Host, seed: int) -> None:
    draw = random.Random(seed)
    line = draw.choice(["30 4 * * *", "15 2 1,15 * 5", "*/20 1-3 * * sun", "5 3 29 2 *", "0,45 0 */2 jun-nov 1-5"])
    name = draw.choice(["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "UTC"])
    script, called = host.script(line, name), read(line)
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=draw.randrange(500_000))
    (minutes,) = [
        row.split()[0] for row in resources(host.site, line, name)[1].content.splitlines() if "/bin/sh" in row
    ]
    for _ in range(3):
        due = called.after(start, zone(name))
        for off, runs in ((-900, False), (-60, False), (0, True), (60, False), (3600 * 24 * 3 + 60 * 7, False)):
            at = due + timedelta(seconds=off)
            really = called.after(at - timedelta(seconds=60), zone(name)) == at
            before = len(host.log())
            host.call(script, at.timestamp() + 2)
            assert (len(host.log()) > before) == really, (line, name, at)
            assert not runs or really
        assert str(due.minute) in minutes.split(","), "cron would not have asked"
        start = due


def test_an_hour_that_comes_twice_counts_once(host: Host) -> None:
    script = host.script("30 2 * * *", "Europe/Berlin")
    for hour in (0, 1):
        host.call(script, datetime(2026, 10, 25, hour, 30, tzinfo=UTC).timestamp())
    assert host.log() == ["ran in r1 as nightly r1"]


def test_without_its_link_nothing_runs(host: Host) -> None:
    Path(host.site.schedule("nightly")).unlink()
    host.call(host.script("* * * * *"), time.time())
    assert host.log() == [] and host.state() == {}


def test_what_came_of_a_run_is_told(host: Host) -> None:
    assert "is not there" in host.state()["why"]
    for job, timeout, told in (
        ("true", 60.0, "success"),
        ("exit 3", 60.0, "exit status 3"),
        ("kill -9 $$", 60.0, "killed by signal 9"),
        ("sleep 60", 0.2, "took too long, and was ended"),
    ):
        host.job(job)
        host.call(host.script("* * * * *", timeout=timeout), 1_800_000_000)
        assert host.state() == {"began": "1800000000", "ended": "1800000000", "result": told}


def test_two_runs_never_overlap_and_one_under_way_is_told(host: Host) -> None:
    fifo = host.folder / "go"
    os.mkfifo(fifo)
    host.job(f"echo began; read word <'{fifo}'; echo ended")
    script = host.script("* * * * *")
    first = subprocess.Popen(["/bin/sh", script], env=host.env(1_800_000_000))
    deadline = time.monotonic() + 30
    while "began" not in host.log():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert host.state() == {"began": "1800000000", "pid": str(first.pid)}
    host.call(script, 1_800_000_060)
    assert "not started: the run before is not over" in host.log()[-1]
    fifo.write_text("go\n")
    assert first.wait(30) == 0
    assert host.log()[-1] == "ended" and host.state()["result"] == "success"


def test_a_run_that_its_host_did_not_survive_is_told(host: Host) -> None:
    script = host.script("* * * * *")
    host.call(script, 1_800_000_000)
    (host.folder / "logs/nightly.state").write_text("pid=1\nbegan=1800000060\n")
    assert host.state() == {"began": "1800000060", "result": "did not come to its end"}


def test_the_log_is_turned_before_it_grows_without_end(host: Host) -> None:
    script = host.script("* * * * *")
    for letter in "abcde":
        (host.folder / "logs/nightly.log").write_text(letter + "x" * 20_000_000)
        host.call(script, time.time())
    kept = {path.name: path.read_text()[0] for path in (host.folder / "logs").glob("nightly.log*")}
    assert kept == {"nightly.log": "r", "nightly.log.1": "e", "nightly.log.2": "d", "nightly.log.3": "c"}


def test_a_lab_of_processes_has_no_cron() -> None:
    with pytest.raises(SettingsError) as refused:
        resources(Site("shop", "lab", "/tmp/x/srv/shop", prefix="/tmp/x"), "@daily")
    assert "machines" in (refused.value.hint or "")
