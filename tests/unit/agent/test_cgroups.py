"""Limits of control groups, read from trees as version 2 and version 1 show them."""

from __future__ import annotations

from pathlib import Path

from deployer.agent.model.layout import Site
from deployer.agent.system.cgroups import limits

NONE = {"cores": None, "memory": None}


def host(folder: Path, files: dict[str, str], app: str = "shop") -> Site:
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return Site(app=app, env="prod", root="/srv/shop", prefix=str(folder))


def test_a_machine_without_limits(tmp_path: Path) -> None:
    files = {"cgroup.controllers": "cpu memory", "system.slice/cpu.max": "max 100000", "system.slice/memory.max": "max"}
    assert limits(host(tmp_path, files)) == {"host": NONE, "supervisord": NONE, "unit": NONE}


def test_a_container_in_version_2_and_a_tighter_slice_in_it(tmp_path: Path) -> None:
    files = {
        "cpu.max": "250000 100000",
        "memory.max": "2147483648",
        "system.slice/cpu.max": "150000 100000",
        "system.slice/memory.high": "1073741824",
    }
    assert limits(host(tmp_path, files))["host"] == {"cores": 1.5, "memory": 1 << 30}


def test_supervisords_unit_and_drop_ins_of_an_instance_are_told_apart(tmp_path: Path) -> None:
    site = host(tmp_path, {"system.slice/supervisor.service/cpu.max": "300000 100000"}, "my-shop")
    assert limits(site) == {"host": NONE, "supervisord": {"cores": 3.0, "memory": None}, "unit": NONE}
    folder = tmp_path / "etc/systemd/system/my-shop@.service.d"
    folder.mkdir(parents=True)
    (folder / "10-first.conf").write_text("[Service]\nMemoryMax=4G\nCPUQuota=50%\nMemoryHigh=10%\n")
    (folder / "override.conf").write_text("[Service]\n# MemoryMax=1K\nMemoryMax = 256M\nMemoryMaximum=7\n")
    assert limits(site)["unit"] == {"cores": 0.5, "memory": 1 << 28}
    (folder / "zz.conf").write_text("[Service]\nCPUQuota=\nMemoryMax=infinity\n")
    assert limits(site)["unit"] == NONE


def test_a_container_in_version_1(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "200000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "1073741824",
        "cpu,cpuacct/system.slice/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/system.slice/cpu.cfs_period_us": "100000",
        "memory/system.slice/memory.limit_in_bytes": "9223372036854771712",
    }
    assert limits(host(tmp_path, files))["host"] == {"cores": 2.0, "memory": 1 << 30}
