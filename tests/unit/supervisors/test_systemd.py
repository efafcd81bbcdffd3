"""The systemd unit: constant, accepted by systemd itself, and the user's options in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployer import supervisors
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import BootUnit, Directory, File
from deployer.errors import SettingsError
from deployer.settings.cron import read
from deployer.supervisors import UnitSpec
from deployer.supervisors.base import ProcessSpec, ScheduleSpec

GOLDEN = Path(__file__).parent / "golden"
SITE = Site(app="shop", env="prod", root="/srv/shop", user="shop")


def units(site: Site = SITE, graceful: float = 30.0, **options: str | int | bool) -> tuple[File, File]:
    service, socket = files(UnitSpec(site, (8000, 8100), graceful, options))
    return service, socket


def files(spec: UnitSpec) -> list[File]:
    return [item for item in supervisors.get("systemd").resources(spec) if isinstance(item, File)]


def unit(site: Site = SITE, graceful: float = 30.0, **options: str | int | bool) -> File:
    return units(site, graceful, **options)[0]


def test_the_unit_is_as_it_was() -> None:
    file = unit(MemoryMax="1G", ReadWritePaths="/var/lib/shop", ProtectHome=True)
    assert file.path == "/etc/systemd/system/shop@.service"
    golden(file.content, "shop@.service")


def test_so_is_the_socket_beside_it() -> None:
    _, socket = units()
    assert socket.path == "/etc/systemd/system/shop@.socket"
    golden(socket.content, "shop@.socket")


def test_and_the_unit_of_a_process() -> None:
    spec = UnitSpec(SITE, (8000,), 30.0, {"MemoryMax": "1G"}, processes=(ProcessSpec("worker", 2, 600.0),))
    *_, process = files(spec)
    assert process.path == "/etc/systemd/system/shop-worker@.service"
    golden(process.content, "shop-worker@.service")
    verbs = supervisors.get("systemd").process_verbs(SITE, "worker", 2)
    assert verbs.unit == "shop-worker@2.service" and not verbs.socket


def test_sockets_have_a_folder_that_is_there_again_after_a_boot(tmp_path: Path) -> None:
    site = Site(app="shop", env="prod", root="/srv/shop", user="root")
    spec = UnitSpec(site, (8000, 8100), 30.0, sockets=site.sockets)
    boot, above, folder, service, socket, *_ = supervisors.get("systemd").resources(spec)
    assert isinstance(boot, File) and isinstance(service, File) and isinstance(socket, File)
    assert boot.path == "/etc/tmpfiles.d/deploy-shop-prod.conf"
    assert above == Directory("/run/deploy") and folder == Directory("/run/deploy/shop-prod", "root", "root")
    assert "ListenStream=/run/deploy/shop-prod/%i.sock" in socket.content
    assert 'ReadWritePaths="-/run/deploy/shop-prod"' in service.content
    assert exposure(tmp_path, service.content.replace("=root\n", "=shop\n")) <= EXPOSED_AT_MOST
    assert not said_of_units(tmp_path, service.content, socket.content)
    made = tmp_path / "made"
    made.mkdir()
    (made / "tmpfiles.conf").write_text(boot.content)
    subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={made}", str(made / "tmpfiles.conf")], check=True, timeout=30
    )
    assert (made / "run/deploy/shop-prod").is_dir()


def golden(text: str, name: str) -> None:
    if os.environ.get("DEPLOY_GOLDEN") == "write":
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_the_units_say_nothing_of_a_release_or_a_port() -> None:
    for file in units():
        assert "8000" not in file.content and "releases" not in file.content


@pytest.mark.parametrize("root", ["/srv/shop", "/srv/my apps/100% $HOME"])
def test_systemd_accepts_the_units_word_for_word(tmp_path: Path, root: str) -> None:
    service, socket = units(Site(app="shop", env="prod", root=root, user="root"), MemoryMax="1G", CPUQuota="150%")
    about = said_of_units(tmp_path, service.content, socket.content)
    assert not about, about


@pytest.mark.parametrize(("what", "by"), [("KillMode=mixed", "KillMode=gently"), ("Backlog=4096", "Backlog=gently")])
def test_the_check_by_systemd_reports_a_value_that_it_does_not_know(tmp_path: Path, what: str, by: str) -> None:
    service, socket = units()
    texts = [file.content.replace(what, by) for file in (service, socket)]
    (number,) = [text.splitlines().index(by) + 1 for text in texts if by in text]
    about = said_of_units(tmp_path, *texts)
    assert [line for line in about if f":{number}: " in line and "gently" in line], about


def said_of_units(folder: Path, service: str, socket: str) -> list[str]:
    """What systemd's own check says of the two units at port 8000."""
    for kind, text in (("service", service), ("socket", socket)):
        (folder / f"shop@8000.{kind}").write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(folder / "shop@8000.socket")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    )
    return [line for line in done.stderr.splitlines() if "shop@" in line]


EXPOSED_AT_MOST = 20
"""Tenths, as systemd-analyze counts: 0 is a unit that can do nothing, 100 one that may do everything."""


@pytest.mark.parametrize("name", ["shop@.service", "shop-worker@.service"])
def test_systemd_finds_little_that_a_unit_exposes(tmp_path: Path, name: str) -> None:
    assert exposure(tmp_path, (GOLDEN / name).read_text()) <= EXPOSED_AT_MOST
    open_to_all = (GOLDEN / name).read_text().replace("SystemCallFilter=@system-service\n", "")
    assert exposure(tmp_path, open_to_all.replace("CapabilityBoundingSet=\n", "")) > EXPOSED_AT_MOST


def exposure(folder: Path, unit: str) -> int:
    """What systemd itself makes of a unit, in tenths."""
    (folder / "some.service").write_text(unit.replace("%i", "8000"))
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(folder / "some.service")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return round(float(said.partition("exposure level for ")[2].split(": ")[1].split()[0]) * 10)


def test_the_sandbox_gives_way_to_the_user() -> None:
    lines = unit(SystemCallFilter="@system-service @mount", PrivateDevices=False).content.splitlines()
    assert [line for line in lines if line.startswith("SystemCallFilter")] == [
        "SystemCallFilter=@system-service @mount"
    ]
    assert "PrivateDevices=false" in lines and "PrivateDevices=true" not in lines


def _option(name: str, value: str | int) -> dict[str, Any]:
    return {name: value}


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [("MemoryMax", "lots", "1.5G"), ("CPUQuota", 150, "150%"), ("LimitNOFILE", "abc", 8192), ("TasksMax", "-1", "10%")],
)
def test_a_limit_that_systemd_would_leave_aside_is_refused(name: str, wrong: str | int, right: str | int) -> None:
    with pytest.raises(SettingsError, match=f"unit: {name}: '{wrong}' is not a valid systemd limit") as caught:
        unit(**_option(name, wrong))
    assert f"such as {name}: " in str(caught.value.hint)
    assert f"{name}={right}" in unit(**_option(name, right)).content


def test_a_capability_of_the_users_is_not_given_in_vain() -> None:
    lines = unit(AmbientCapabilities="CAP_NET_BIND_SERVICE").content.splitlines()
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE" in lines and "CapabilityBoundingSet=" not in lines
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in lines


def test_without_an_account_of_its_own_root_keeps_what_it_needs() -> None:
    assert "CapabilityBoundingSet" not in unit(Site(app="shop", env="prod", root="/srv/shop")).content


def test_the_users_options_replace_ours_or_add_to_lists() -> None:
    lines = unit(RestartSec=5, Environment="A=b", LimitCORE="infinity").content.splitlines()
    assert "RestartSec=5" in lines and "RestartSec=1" not in lines
    assert "Environment=PORT=%i" in lines and "Environment=A=b" in lines
    assert "LimitCORE=infinity" in lines


@pytest.mark.parametrize(
    "options",
    [
        {"Memory-Max": "1G"},
        {"MemoryMax": "1G\nExecStartPre=/bin/evil"},
        {"MemoryMax": "1G\\"},
        {"ExecStart": "/bin/true"},
        {"KillMode": "process"},
    ],
)
def test_options_that_would_break_the_unit_are_the_users_error(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        unit(**options)


def test_the_kill_comes_ten_seconds_after_the_graceful_time() -> None:
    assert "TimeoutStopSec=52.5" in unit(graceful=42.5).content.splitlines()


def test_no_verb_reloads_systemd_or_leaves_it_outdated() -> None:
    verbs = supervisors.get("systemd").verbs(SITE, 8100)
    assert verbs.unit == "shop@8100.service"
    assert verbs.start == ("systemctl", "start", "shop@8100.service")
    assert "--root=/" in verbs.enable and "--root=/" in verbs.disable
    assert verbs.log.count("{lines}") == 1
    assert "--root=/" in " ".join(verbs.socket_open) and "--root=/" in " ".join(verbs.socket_close)


def test_an_unknown_supervisor_lists_those_there_are() -> None:
    with pytest.raises(SettingsError) as caught:
        supervisors.get("upstart")
    assert "supervisord" in caught.value.message


def test_the_users_own_template_takes_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "app@.service.j2").write_text("[Service]\nExecStart=/bin/true\n")
    file, _ = files(UnitSpec(SITE, (8000,), 30.0, search=(tmp_path,)))
    assert isinstance(file, File) and file.content.endswith("ExecStart=/bin/true\n")


def schedule(site: Site = SITE, line: str = "30 4 1,15 * 5", zone: str = "Europe/Berlin", **options: str) -> list[File]:
    """The service and the timer of a schedule."""
    spec = UnitSpec(site, (8000,), 30.0, options, schedules=(ScheduleSpec("nightly", read(line), zone, 1200.0),))
    return [file for file in supervisors.get("systemd").resources(spec)[2:] if isinstance(file, File)]


def test_the_timer_of_a_schedule_and_its_run() -> None:
    service, timer = schedule(MemoryMax="1G")
    for file in (service, timer):
        golden(file.content, Path(file.path).name)
    adapter = supervisors.get("systemd")
    assert (service.path, timer.path) == adapter.schedule_files(SITE, "nightly")
    verbs = adapter.schedule_verbs(SITE, "nightly")
    assert verbs.unit == verbs.start[-1] == verbs.enable[-1] == "shop-nightly.timer"
    assert verbs.reset[-1] == "shop-nightly.service" and "shop-nightly.service" in verbs.log


def test_a_run_has_the_sandbox_of_the_instances() -> None:
    service, _ = schedule()
    own = {line for line in unit().content.splitlines() if "=" in line and line[0].isupper()}
    told = {line for line in service.content.splitlines() if "=" in line and line[0].isupper()}
    differs = {line.partition("=")[0] for line in own - told}
    of_unit, of_run = {"Description", "ConditionPathExists", "StartLimitIntervalSec", "WantedBy"}, {"Type", "ExecStart"}
    of_run |= {"Environment", "SyslogIdentifier", "TimeoutStartSec", "TimeoutStopSec", "Restart", "RestartSec"}
    assert differs <= of_unit | of_run, differs


@pytest.mark.parametrize("root", ["/srv/shop", "/srv/my apps/100% $HOME"])
@pytest.mark.parametrize("broken", [False, True])
def test_systemd_accepts_them_word_for_word(tmp_path: Path, root: str, broken: bool) -> None:
    site = Site(app="shop", env="prod", root=root, user="root")
    for file in schedule(site, MemoryMax="1G"):
        text = (
            file.content.replace("Type=oneshot", "Type=gently").replace("04:30", "gently") if broken else file.content
        )
        (tmp_path / Path(file.path).name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "shop-nightly.timer")],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    about = [line for line in done.stderr.splitlines() if "shop-nightly" in line]
    assert bool(about) == broken, about


def test_all_that_is_in_use_starts_at_boot() -> None:
    """A unit is enabled while its link exists; a socket only where it is open, since opening it enables it."""
    nightly = ScheduleSpec("nightly", read("0 3 * * *"), "UTC", 60.0)
    spec = UnitSpec(SITE, (8000,), 30.0, processes=(ProcessSpec("worker", 2, 600.0),), schedules=(nightly,))
    units = [item for item in supervisors.get("systemd").resources(spec) if isinstance(item, BootUnit)]
    assert {unit.name: (unit.link, unit.active_only) for unit in units} == {
        "shop@8000.service": ("/srv/shop/slots/8000", False),
        "shop@8000.socket": ("/srv/shop/slots/8000", True),
        "shop-worker@1.service": ("/srv/shop/processes/worker@1", False),
        "shop-worker@2.service": ("/srv/shop/processes/worker@2", False),
        "shop-nightly.timer": ("/srv/shop/schedules/nightly", False),
    }
    for unit in units:
        assert unit.enable == ("systemctl", "enable", "--root=/", "--quiet", unit.name)
