"""`deploy init` on apps that other people wrote, as the package index has them. Their code is parsed and never run."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deployer.errors import SettingsError
from deployer.settings.inference.app.choice import AmbiguousAppError
from deployer.settings.init.init import propose, write
from deployer.settings.load import load

pytestmark = pytest.mark.more


def unpacked(distribution: str, folder: Path) -> Path:
    """The code of a distribution in a folder; nothing of it is installed. Skipped where the index cannot be asked."""
    ask = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(folder)]
    done = subprocess.run([*ask, distribution], capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        pytest.skip(f"{distribution} cannot be had: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    (wheel,) = folder.glob("*.whl")
    tree = folder / "tree"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree)
    return tree


@pytest.mark.parametrize(
    ("distribution", "app", "words"),
    [
        ("flaskbb==2.0.2", "flaskbb.app:create_app()", "Flask, WSGI: the only app in the code (flaskbb/app.py:"),
        ("wger==2.1", "wger.wsgi:application", "Django, WSGI: the only app in the code (wger/wsgi.py:"),
    ],
)
def test_the_app_is_found(tmp_path: Path, distribution: str, app: str, words: str) -> None:
    tree = unpacked(distribution, tmp_path)
    told = {reason.what: reason for reason in write(tree).reasons}
    assert told["app"].value == app and told["app"].why.startswith(words)
    assert told["server"].value == "gunicorn"
    assert load(tree / "deploy.yaml", "prod", environ={}).settings.python.with_ == ("gunicorn",)


def test_two_apps_with_the_same_claim_are_named(tmp_path: Path) -> None:
    with pytest.raises(AmbiguousAppError) as caught:
        propose(unpacked("httpbin==0.10.4", tmp_path))
    assert set(caught.value.candidates) == {"httpbin.core:app", "httpbin.filters:app"}


def test_a_program_that_serves_by_itself_is_known_as_such(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        propose(unpacked("datasette==0.65.5", tmp_path))
    assert "uvicorn.run in datasette/cli.py:" in caught.value.message
