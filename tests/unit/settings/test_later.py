"""A setting that does nothing would be a lie: what is not carried out yet is refused, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import SettingsError
from deployer.settings.later import refuse_what_is_not_there_yet
from deployer.settings.load import load


@pytest.mark.parametrize(
    "text",
    [
        "schedules: {nightly: {command: x, cron: '0 3 * * *'}}",
    ],
)
def test_a_key_of_a_later_version_is_named_with_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(f"app: shop\n{text}\n")
    with pytest.raises(SettingsError) as refused:
        refuse_what_is_not_there_yet(load(tmp_path / "deploy.yaml", "prod"))
    assert refused.value.line == 2
    assert refused.value.hint
    assert text.split(":")[0] in refused.value.message


def test_what_is_carried_out_passes(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text("app: shop\nrolling: {strategy: restart, waves: [1, 50%]}\ntls: off\n")
    refuse_what_is_not_there_yet(load(tmp_path / "deploy.yaml", "prod"))
