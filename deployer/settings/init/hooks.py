"""The hooks that `deploy init` proposes, from a Procfile or else from files of the project."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from deployer.settings.inference.app.modules import read_code
from deployer.settings.inference.requirements import read_requirements
from deployer.settings.init.procfile import Procfile

_DJANGO = re.compile(r"\bDJANGO_SETTINGS_MODULE\b|\bdjango\.core\.management\b")


@dataclass(frozen=True)
class Proposed:
    """A hook's `command`, where it runs (`when`), and `why` it is proposed."""

    command: str
    when: str
    why: str


def hooks(folder: Path, procfile: Procfile) -> dict[str, Proposed]:
    """Return name → hook, for the app in `folder` with what its Procfile comes to."""
    proposed = {"prepare": _prepare(folder, procfile), "release": _release(folder, procfile)}
    return {name: hook for name, hook in proposed.items() if hook}


def is_django(folder: Path) -> bool:
    """Return whether `manage.py` is there and Django's: others give their own programs that name."""
    try:
        return bool(_DJANGO.search((folder / "manage.py").read_text("utf-8", errors="replace")))
    except OSError:
        return False


def _prepare(folder: Path, procfile: Procfile) -> Proposed | None:
    """Return what WhiteNoise serves has to be collected in each release; a Procfile may say how."""
    everywhere = "on every host, in the new release"
    if procfile.prepare:
        return Proposed(procfile.prepare, everywhere, "as in the Procfile")
    if is_django(folder) and "whitenoise" in read_requirements(folder).names and _has_static_root(folder):
        why = "WhiteNoise, which is among the requirements, serves what STATIC_ROOT has"
        return Proposed("python manage.py collectstatic --no-input", everywhere, why)
    return None


def _has_static_root(folder: Path) -> bool:
    """Return whether settings say where the files go: without that Django refuses to collect any."""
    return any("STATIC_ROOT" in module.assigned for module in read_code(folder).modules)


def _release(folder: Path, procfile: Procfile) -> Proposed | None:
    once = "once, before the first wave"
    if procfile.release:
        return Proposed(procfile.release, once, "as in the Procfile")
    if (folder / "alembic.ini").is_file():
        return Proposed("alembic upgrade head", once, "alembic.ini is here")
    if is_django(folder):
        return Proposed("python manage.py migrate --no-input", once, "manage.py is Django's")
    return None
