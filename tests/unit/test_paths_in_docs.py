"""Files and modules that the documentation names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.project import REPOSITORY

DOCUMENTS = sorted([*REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("*.md")])
PACKAGES = "|".join(
    sorted(path.name for path in (REPOSITORY / "deployer").iterdir() if (path / "__init__.py").exists())
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:deployer|tests|docs|roles|templates|examples)/[\w./-]*[\w/])`", text)
    missing = [path for path in paths if not (REPOSITORY / path).exists() and "_content" not in path]
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing += [link for link in links if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_lead_somewhere(document: Path) -> None:
    """`rollout.rolling.waves` is a module, or a name in the module `rollout.rolling`."""
    names = re.findall(rf"`((?:{PACKAGES})(?:\.[a-z_]+)+)`", document.read_text(encoding="utf-8"))
    missing = []
    for name in (name for name in names if not name.endswith((".json", ".jsonl"))):
        path = REPOSITORY / "deployer" / name.replace(".", "/")
        holder = path.parent.with_suffix(".py")
        is_module = path.with_suffix(".py").exists() or path.is_dir()
        if not is_module and not (holder.exists() and path.name in holder.read_text(encoding="utf-8")):
            missing.append(name)
    assert not missing
