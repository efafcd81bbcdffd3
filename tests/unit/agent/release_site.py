"""A site in a folder of its own, and the controller's calls to make releases in it.

As a program (`python release_site.py SPEC`) it makes one release and kills itself with SIGKILL at a given moment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deployer.agent import operation
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context
from deployer.agent.system import files, tree
from deployer.artifact import manifest

RUN = "#!/bin/sh\nexec .venv/bin/python -m app\n"
FILES = {"app.py": "import sys\nprint('serving', sys.prefix)\n", "static/a.css": "a{}", "bin/tool": "#!/bin/sh\n"}
NONE = {"key": "none", "python": sys.executable, "installer": "none"}


class Host:
    """One host: its site, and what its operations said."""

    def __init__(self, folder: Path, user: str = "") -> None:
        self.folder = folder
        self.site = Site("shop", "prod", str(folder / "srv" / "shop"), user=user)
        self.events: list[dict[str, Any]] = []
        self.emit = self.events.append

    def set_up(self) -> Host:
        """What `deploy setup` leaves behind."""
        Path(self.site.root).mkdir(parents=True, exist_ok=True)
        return self

    def call(self, name: str, body: bytes | Iterator[bytes] = b"", /, **args: Any) -> dict[str, Any]:
        """One operation; OpError as it comes."""
        chunks = iter([body]) if isinstance(body, bytes) else body
        context = Context(emit=self.emit, body=chunks)
        response: dict[str, Any] = operation.find(name)(context, {"site": self.site.to_wire(), **args})
        return response

    def push(self, release: str, files: Mapping[str, str] = FILES, **args: Any) -> dict[str, Any]:
        """begin, fill, build; what the three answered, in one map."""
        source = write(self.folder / "source", files)
        return self.ship(release, source, **args)

    def ship(self, release: str, source: Path, wheels: Path | None = None, **args: Any) -> dict[str, Any]:
        """The same for a folder that is there."""
        shipped = manifest.scan(source)
        if wheels:
            shipped = manifest.with_wheels(shipped, wheels)
        begun = self.call("release.begin", shipped.as_bytes(), release=release)
        if begun["complete"]:
            return begun
        filled = self.call("release.fill", manifest.pack(shipped, begun["missing"], source, wheels), release=release)
        built = self.build(release, **args)
        return {**begun, **filled, **built}

    def build(self, release: str, **args: Any) -> dict[str, Any]:
        """`release.build` with the least that it needs."""
        given = {"run": RUN, "files": {}, "meta": {"content": "c", "created": 1_700_000_000}, "venv": NONE, "env": {}}
        return self.call("release.build", release=release, **{**given, **args})

    def read(self, release: str, path: str) -> str:
        """A file of a release."""
        return Path(self.site.release(release), path).read_text()

    def lines(self) -> list[str]:
        """Every line that commands printed."""
        return [event["line"] for event in self.events if event["event"] == "output"]


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder with exactly these files; names under `bin/` can be executed."""
    tree.remove(str(folder))
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if path.startswith("bin/") else 0o644)
    return folder


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str] | None = None) -> Path:
    """A tiny wheel with one module."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(files or {}),
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*content, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in content.items():
            wheel.writestr(member, text)
    return path


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(host: Host, moment: str) -> None:
    """Arranges the end: at a progress event of that step, or instead of a function of `tree` or `files`."""
    module, _, function = moment.partition(".")
    if function:
        setattr({"tree": tree, "files": files}[module], function, lambda *args, **kwargs: _die())
        return
    host.emit = lambda event: _die() if moment and event.get("step") == moment else None


if __name__ == "__main__":
    spec = json.loads(sys.argv[1])
    victim = Host(Path(spec["folder"]))
    _die_at(victim, spec["moment"])
    victim.ship(spec["release"], Path(spec["source"]), **spec["args"])
