"""The systemd unit: constant, accepted by systemd itself, and the user's options in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from deployer import supervisors
from deployer.agent.layout import Site
from deployer.agent.resources import File
from deployer.errors import SettingsError
from deployer.supervisors import UnitSpec

GOLDEN = Path(__file__).parent / "golden"
SITE = Site(app="shop", env="prod", root="/srv/shop", user="shop")


def unit(site: Site = SITE, graceful: float = 30.0, **options: str | int | bool) -> File:
    (file,) = supervisors.get("systemd").resources(UnitSpec(site, (8000, 8100), graceful, options))
    assert isinstance(file, File)
    return file


def test_the_unit_is_as_it_was() -> None:
    file = unit(MemoryMax="1G", ReadWritePaths="/var/lib/shop", ProtectHome=True)
    assert file.path == "/etc/systemd/system/shop@.service"
    assert file.content == (GOLDEN / "shop@.service").read_text()


def test_the_unit_says_nothing_of_a_release_or_a_port() -> None:
    assert "8000" not in unit().content and "releases" not in unit().content


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
@pytest.mark.parametrize("root", ["/srv/shop", "/srv/my apps/100% $HOME"])
def test_systemd_accepts_the_unit_word_for_word(tmp_path: Path, root: str) -> None:
    site = Site(app="shop", env="prod", root=root, user="root")
    path = tmp_path / "shop@8000.service"
    path.write_text(unit(site, MemoryMax="1G", CPUQuota="150%").content)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True)
    about = [line for line in done.stderr.splitlines() if "shop@" in line]
    assert not about, about
    broken = tmp_path / "bad@8000.service"
    broken.write_text(path.read_text().replace("KillMode=mixed", "KillMode=gently"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(broken)], capture_output=True, text=True)
    assert "gently" in done.stderr, "the verification sees nothing, so this test proves nothing"


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
def test_options_that_would_break_the_unit_are_the_users_error(options: dict[str, str]) -> None:
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


def test_an_unknown_supervisor_lists_those_there_are() -> None:
    with pytest.raises(SettingsError) as caught:
        supervisors.get("upstart")
    assert "supervisord" in (caught.value.hint or "")


def test_the_users_own_template_takes_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "app@.service.j2").write_text("[Service]\nExecStart=/bin/true\n")
    (file,) = supervisors.get("systemd").resources(UnitSpec(SITE, (8000,), 30.0, search=(tmp_path,)))
    assert isinstance(file, File) and file.content.endswith("ExecStart=/bin/true\n")
