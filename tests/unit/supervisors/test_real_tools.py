"""Every unit and drop-in that is written, read by systemd's own check; every program, by supervisord's own parser."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from deployer import balancers
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import File

GOLDEN = Path(__file__).parent / "golden"
REAL = Site(app="shop", env="prod", root="/srv/shop")


def verified(folder: Path, unit: str) -> list[str]:
    """What `systemd-analyze verify` says of a unit below `folder`, and of its drop-ins."""
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(folder / unit)]
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    name = unit.partition("@")[0].removesuffix(".service")
    return [line for line in done.stderr.splitlines() if name in line and "is not executable" not in line]


def of_process(text: str = "") -> str:
    # systemd looks the account up, and there is none of that name here.
    return (text or (GOLDEN / "shop-worker@.service").read_text()).replace("=shop\n", "=root\n")


def test_systemd_accepts_the_unit_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "shop-worker@1.service").write_text(of_process())
    assert not verified(tmp_path, "shop-worker@1.service")


def test_the_check_by_systemd_reports_a_value_that_it_does_not_know(tmp_path: Path) -> None:
    wrong = of_process().replace("ProtectProc=invisible", "ProtectProc=hidden")
    (tmp_path / "shop-worker@1.service").write_text(wrong)
    about = verified(tmp_path, "shop-worker@1.service")
    number = wrong.splitlines().index("ProtectProc=hidden") + 1
    assert [line for line in about if f":{number}: " in line and "hidden" in line], about


@pytest.mark.parametrize(("kind", "unit"), [("haproxy", "haproxy"), ("nginx", "nginx"), ("caddy", "deploy-caddy")])
def test_systemd_accepts_what_is_written_for_balancers(tmp_path: Path, kind: str, unit: str) -> None:
    """Drop-ins lie over the unit of the distribution's own package."""
    written = {
        Path(each.path).relative_to("/etc/systemd/system"): each.content
        for each in balancers.get(kind).base(REAL, systemd=True)
        if isinstance(each, File) and each.path.startswith("/etc/systemd/system/")
    }
    assert written
    packaged = Path("/lib/systemd/system", f"{unit}.service")
    if Path(f"{unit}.service") not in written:
        (tmp_path / packaged.name).write_text(packaged.read_text())
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("User=deploy-caddy", "User=root"))
    assert not verified(tmp_path, packaged.name)
    (name, text) = next(iter(written.items()))
    (tmp_path / name).write_text(text.replace("[Service]\n", "[Service]\nRestart=perhaps\n"))
    assert "perhaps" in "".join(verified(tmp_path, packaged.name))


def programs(folder: Path, text: str) -> dict[str, object]:
    """Name → the program as supervisord itself reads it; ValueError where it does not."""
    (folder / "conf.d").mkdir(exist_ok=True)
    # It looks the account up, and its logs must be in a folder that is there.
    text = text.replace("user=shop\n", "user=root\n").replace("/var/log/supervisor", str(folder))
    (folder / "conf.d/app.conf").write_text(text)
    (folder / "supervisord.conf").write_text(f"[supervisord]\nchildlogdir={folder}\n[include]\nfiles=conf.d/*.conf\n")
    options = ServerOptions()
    options.configfile = str(folder / "supervisord.conf")
    options.process_config(do_usage=False)
    return {made.name: made for group in options.process_group_configs for made in group.process_configs}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop.conf", {"shop-8000", "shop-8100"}),
        ("with-processes.conf", {"shop-8000", "shop-worker-1", "shop-worker-2"}),
    ],
)
def test_supervisord_reads_every_program(tmp_path: Path, name: str, expected: set[str]) -> None:
    found = programs(tmp_path, (GOLDEN / name).read_text())
    assert set(found) == expected
    for made in found.values():
        assert made.exitcodes == [78] and made.killasgroup and made.autostart  # type: ignore[attr-defined]
        assert made.stdout_logfile_maxbytes == 20 * 1024**2  # type: ignore[attr-defined]


def test_supervisord_refuses_a_signal_that_it_does_not_know(tmp_path: Path) -> None:
    text = (GOLDEN / "shop.conf").read_text().replace("stopsignal=TERM", "stopsignal=POLITE", 1)
    with pytest.raises(ValueError, match="POLITE"):
        programs(tmp_path, text)
