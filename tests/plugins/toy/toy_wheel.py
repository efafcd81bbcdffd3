"""Builds the wheel of this package (PEP 517) with the standard library alone, so that tests need no network for it."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    """Write the wheel into the folder, and return its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    groups = [f"[{group}]\n{_lines(entries)}" for group, entries in project["entry-points"].items()]
    info = {
        "METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "\n".join(groups),
    }
    files = {path.relative_to(ROOT / "src").as_posix(): path.read_text("utf-8") for path in ROOT.rglob("src/**/*.py")}
    files |= {f"{stem}.dist-info/{name}": text for name, text in info.items()}
    record = f"{stem}.dist-info/RECORD"
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for path, text in sorted(files.items()):
            wheel.writestr(path, text)
        wheel.writestr(record, "".join(f"{path},,\n" for path in [*sorted(files), record]))
    return name


def _lines(entries: dict[str, str]) -> str:
    return "".join(f"{name} = {target}\n" for name, target in entries.items())
