"""Files of a project with content that nobody expects: read, or refused with one clear error; never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

CONTENT: dict[str, bytes] = {
    "latin-1": b"app: caf\xe9\n",
    "NUL": b"a\0b\n",
    "a list": b"- 1\n- 2\n",
    "many digits": b"app: " + b"9" * 6000 + b"\n",
    "a tag": b"!!python/object:os.system {}\n",
    "an open bracket": b"[web\n",
}
FILES = (
    *("deploy.yaml", "deploy.prod.yaml", "inventories/prod.yaml", "inventories/group_vars/all.yml", "Procfile"),
    *("gunicorn.conf.py", ".python-version", "requirements.txt", "pyproject.toml", "main.py", "roles/x/role.yaml"),
)


@pytest.mark.parametrize("name", FILES)
def test_odd_content_is_read_or_refused(deploy: Any, project: Path, name: str) -> None:
    file = project / name
    file.parent.mkdir(parents=True, exist_ok=True)
    for label, content in CONTENT.items():
        file.write_bytes(content)
        result = deploy("render", "prod", "--out", str(project / "out"))
        assert result.exit_code in (0, 2), f"{name}, {label}: {result.output}{result.stderr}"
        assert "Traceback" not in result.output + result.stderr, f"{name}, {label}"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["a folder", "a link to itself"])
def test_what_is_no_file_is_passed_over_or_refused(deploy: Any, project: Path, name: str, kind: str) -> None:
    file = project / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    if kind == "a folder":
        file.mkdir()
    else:
        file.symlink_to(file.name)
    result = deploy("render", "prod", "--out", str(project / "out"))
    assert result.exit_code in (0, 2), result.output + result.stderr
    assert "Traceback" not in result.output + result.stderr
