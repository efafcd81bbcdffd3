"""Units that must start at boot: what each needs, as its supervisor tells its state."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.agent.model.resources import BootUnit
from deployer.agent.operation import OpError
from deployer.agent.provisioning import boot_units


def unit(folder: Path, state: str, enable: str = "true", *, active_only: bool = False) -> BootUnit:
    (folder / "link").touch()
    words = ("sh", "-c", f"echo {state}; exit 1")
    return BootUnit("shop@8000.service", str(folder / "link"), words, ("sh", "-c", enable), active_only)


@pytest.mark.parametrize(
    "state, active_only, action",
    [
        ("enabled", False, ""),
        ("disabled", False, "enable"),
        ("masked", False, "unmask"),
        ("masked-runtime", False, "unmask"),
        ("inactive masked", True, ""),
        ("active disabled", True, "enable"),
    ],
)
def test_what_a_unit_in_use_needs(tmp_path: Path, state: str, active_only: bool, action: str) -> None:
    assert boot_units.action(unit(tmp_path, state, active_only=active_only)) == action


def test_a_masked_unit_is_left_to_a_person_with_the_command(tmp_path: Path) -> None:
    masked = unit(tmp_path, "masked", f"touch {tmp_path}/enabled")
    with pytest.raises(OpError, match="is masked") as caught:
        boot_units.enable(masked)
    assert caught.value.code == "masked" and "systemctl unmask shop@8000.service" in caught.value.hint
    assert not (tmp_path / "enabled").exists()


def test_a_refusal_of_the_supervisor_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OpError, match="cannot be enabled"):
        boot_units.enable(unit(tmp_path, "disabled", "false"))
