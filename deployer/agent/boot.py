"""How the agent gets into a process: over the channel at every run, or from an archive for what must outlive it.

Over the channel: the loader (`deployer/remote/bundle.py`) executes this module from the bundle and calls `start`. The
bundle is `{module: source}`; modules are compiled when they are first imported. From an archive: `python3 -IS
agent.pyz MODULE ARGUMENTS…` calls `main` of that module; watchdogs and detached hooks live like this.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from types import ModuleType
from typing import Any, BinaryIO, Dict, List, Optional, Sequence

PACKAGE = "deployer.agent"
_MAIN = "import sys\nfrom deployer.agent.boot import main\nsys.exit(main(sys.argv[1:]))\n"


class SourceImporter:
    """Imports `deployer.agent.*` from sources in memory: finder and loader in one. (importlib.abc costs 5 ms.)"""

    def __init__(self, sources: Dict[str, str]) -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        """The spec of a module that the bundle holds."""
        if fullname in ("deployer", PACKAGE):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]
        package, _, name = fullname.rpartition(".")
        if package == PACKAGE and name in self.sources:
            return importlib.machinery.ModuleSpec(fullname, self, origin="<agent %s.py>" % name)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Optional[ModuleType]:
        """None: an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Compiles and runs the module's source."""
        name = module.__name__
        if name in ("deployer", PACKAGE):
            return
        source = self.sources[name.rpartition(".")[2]]
        exec(compile(source, "<agent %s.py>" % name.rpartition(".")[2], "exec"), module.__dict__)  # noqa: S102

    def get_source(self, fullname: str) -> Optional[str]:
        """The source, for tracebacks."""
        return self.sources.get(fullname.rpartition(".")[2])


def start(sources: Dict[str, str], incoming: BinaryIO) -> None:
    """Serves the controller on `incoming` and fd 1 until it is done; never returns."""
    sys.meta_path.insert(0, SourceImporter(sources))
    from deployer.agent.session import serve

    serve(incoming)


def main(argv: Sequence[str]) -> int:
    """Calls `main(argv[1:])` of the agent's module `argv[0]` and returns its exit status."""
    if not argv or not argv[0].isidentifier():
        sys.stderr.write("usage: agent.pyz MODULE ARGUMENTS…\n")
        return 2
    module = importlib.import_module(PACKAGE + "." + argv[0])
    status: Optional[int] = module.main(list(argv[1:]))
    return status or 0


def archive(path: str) -> List[str]:
    """Writes this agent as a program file (mode 0700), atomically, unless it is there already.

    Returns the argv that runs it, to which a module name and its arguments are added.
    """
    from deployer.agent import files

    content = _zipped(_sources())
    if not _holds(path, content):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.write(path, content, 0o700)
    return [sys.executable or "python3", "-IS", path]


def _holds(path: str, content: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == content
    except OSError:
        return False


def _sources() -> Dict[str, str]:
    """Every module of the agent, from wherever this one came."""
    package = importlib.import_module(PACKAGE)
    loader: Any = package.__spec__.loader if package.__spec__ else None
    if hasattr(loader, "sources"):  # a SourceImporter, though maybe of another copy of this module
        return dict(loader.sources)
    if hasattr(loader, "archive"):
        import zipfile

        with zipfile.ZipFile(loader.archive) as made:
            return {
                os.path.basename(name)[:-3]: made.read(name).decode()
                for name in made.namelist()
                if name.startswith("deployer/agent/")
            }
    folder = os.path.dirname(os.path.abspath(__file__))
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found[name[:-3]] = file.read()
    return found


def _zipped(sources: Dict[str, str]) -> bytes:
    """The sources as a zip that Python runs; the same sources give the same bytes."""
    import io
    import zipfile

    files = {"__main__.py": _MAIN, "deployer/__init__.py": "", "deployer/agent/__init__.py": ""}
    files.update(("deployer/agent/%s.py" % name, source) for name, source in sources.items())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name in sorted(files):
            made.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
