"""The hooks that `deploy init` proposes: what a Procfile says, else what files of the project speak for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from deployer.settings.procfile import Procfile

_DJANGO = re.compile(r"\bDJANGO_SETTINGS_MODULE\b|\bdjango\.core\.management\b")


@dataclass(frozen=True)
class Proposed:
    """A hook's `command`, where it runs (`when`), and `why` it is proposed."""

    command: str
    when: str
    why: str


def hooks(folder: Path, told: Procfile) -> dict[str, Proposed]:
    """Name → hook, for the app in `folder` with what its Procfile comes to."""
    release = _release(folder, told)
    return {"release": release} if release else {}


def is_django(folder: Path) -> bool:
    """Whether `manage.py` is there and Django's: others give their own programs that name."""
    try:
        return bool(_DJANGO.search((folder / "manage.py").read_text("utf-8", errors="replace")))
    except OSError:
        return False


def _release(folder: Path, told: Procfile) -> Proposed | None:
    once = "once, before the first wave"
    if told.release:
        return Proposed(told.release, once, "as in the Procfile")
    if (folder / "alembic.ini").is_file():
        return Proposed("alembic upgrade head", once, "alembic.ini is here")
    if is_django(folder):
        return Proposed("python manage.py migrate --no-input", once, "manage.py is Django's")
    return None
