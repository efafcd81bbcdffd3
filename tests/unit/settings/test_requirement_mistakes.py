"""What is wrong in a requirements file or in env is said with its line, before a host is asked anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import SettingsError
from deployer.settings.inference.requirements import read_requirements
from deployer.settings.load import load


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("fastapi\n-r more.txt\n", 2, "names more.txt, which does not exist"),
        ("fastapi uvicorn\n", 1, "'fastapi uvicorn' is not a valid requirement"),
        ("# two\nfastapi[standard] uvicorn  # both\n", 2, "is not a valid requirement"),
    ],
)
def test_a_requirement_that_is_none(text: str, line: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(text)
    with pytest.raises(SettingsError, match=says) as refused:
        read_requirements(tmp_path)
    assert (refused.value.file, refused.value.line) == ("requirements.txt", line)


@pytest.mark.parametrize(
    "line",
    [
        "uvicorn == 0.30",
        "uvicorn ; python_version > '3.8'",
        "uvicorn @ https://example.com/uvicorn.whl",
        "uvicorn[standard] >= 0.30 --hash=sha256:00",
        "uvicorn \\\n  --hash=sha256:00",
        "./vendored/package",
        "uvicorn # the server",
    ],
)
def test_what_pip_takes_is_no_mistake(line: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(line + "\n")
    read_requirements(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('env: {GREETING: "two\\nlines"}', "more than one line"),
        ("env: {PORT: 80}", "PORT is set by the tool itself"),
        ("secrets: {DEPLOY_KEY: {env: KEY}}", "DEPLOY_KEY is set by the tool itself"),
        ("root: /etc", "belongs to the system"),
        ("root: /srv", "belongs to the system"),
        ("root: /usr/local/shop", "belongs to the system"),
    ],
)
def test_a_value_that_could_never_work_is_refused_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(f"app: shop\n{text}\n")
    with pytest.raises(SettingsError, match=says) as refused:
        load(tmp_path / "deploy.yaml", "prod")
    assert refused.value.line == 2
