"""How the agent gets into a process: over the channel at every run, or from an archive for what must outlive it.

Over the channel: the loader (`deployer/remote/bundle.py`) executes this module from the bundle and calls `start`. The
bundle is `{module: source}`, with names relative to `deployer.agent` (`channel.session`); modules are compiled when
they are first imported. From an archive: `python3 -IS agent.pyz MODULE ARGUMENTS…` calls `main` of that module;
watchdogs and detached hooks live like this.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, BinaryIO

PACKAGE = "deployer.agent"
_MAIN = "import sys\nfrom deployer.agent.channel.bootstrap import main\nsys.exit(main(sys.argv[1:]))\n"


class SourceImporter:
    """Imports `deployer.agent.*` from sources in memory: finder and loader in one. (importlib.abc costs 5 ms.)"""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        self._packages = {"deployer", PACKAGE, *(PACKAGE + "." + name for name in packages(sources))}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """The spec of a module that the bundle holds."""
        if fullname in self._packages:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]
        if _relative(fullname) in self.sources:
            return importlib.machinery.ModuleSpec(fullname, self, origin=_origin(fullname))  # type: ignore[arg-type]
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """None: an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Compiles and runs the module's source; packages have none."""
        name = module.__name__
        if name not in self._packages:
            exec(compile(self.sources[_relative(name)], _origin(name), "exec"), module.__dict__)  # noqa: S102

    def get_source(self, fullname: str) -> str | None:
        """The source, for tracebacks."""
        return self.sources.get(_relative(fullname))


def packages(modules: Iterable[str]) -> list[str]:
    """The packages that hold these modules, each before those inside it; names relative to `deployer.agent`."""
    parents = {name.rpartition(".")[0] for name in modules}
    parents |= {name[:at] for name in parents for at, letter in enumerate(name) if letter == "."}
    return sorted(parents - {""})


def _relative(fullname: str) -> str:
    return fullname[len(PACKAGE) + 1 :] if fullname.startswith(PACKAGE + ".") else ""


def _origin(fullname: str) -> str:
    return f"<agent {_relative(fullname).replace('.', '/')}.py>"


def start(sources: dict[str, str], incoming: BinaryIO) -> None:
    """Serves the controller on `incoming` and fd 1 until it is done; never returns."""
    sys.meta_path.insert(0, SourceImporter(sources))
    from deployer.agent.channel.session import serve

    serve(incoming)


def main(argv: Sequence[str]) -> int:
    """Calls `main(argv[1:])` of the agent's module `argv[0]` and returns its exit status."""
    if not argv or not all(part.isidentifier() for part in argv[0].split(".")):
        sys.stderr.write("usage: agent.pyz MODULE ARGUMENTS…\n")
        return 2
    module = importlib.import_module(PACKAGE + "." + argv[0])
    status: int | None = module.main(list(argv[1:]))
    return status or 0


def archive(path: str) -> list[str]:
    """Writes this agent as a program file (mode 0700), atomically, unless it is there already.

    Returns the argv that runs it, to which a module name and its arguments are added.
    """
    from deployer.agent.system import files

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


def _sources() -> dict[str, str]:
    """Every module of the agent, from wherever this one came."""
    package = importlib.import_module(PACKAGE)
    loader: Any = package.__spec__.loader if package.__spec__ else None
    if hasattr(loader, "sources"):  # a SourceImporter, though maybe of another copy of this module
        return dict(loader.sources)
    if hasattr(loader, "archive"):
        import zipfile

        root = PACKAGE.replace(".", "/") + "/"
        with zipfile.ZipFile(loader.archive) as zip_archive:
            files = {
                name[len(root) :]: zip_archive.read(name).decode()
                for name in zip_archive.namelist()
                if name.startswith(root)
            }
        return _modules(files)
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(parent, name)
                with open(path, encoding="utf-8") as file:
                    files[os.path.relpath(path, folder)] = file.read()
    return _modules(files)


def _modules(files: dict[str, str]) -> dict[str, str]:
    """Path below the package → text, as module → text; the `__init__.py` of packages hold nothing but a docstring."""
    modules = {path[: -len(".py")].replace("/", "."): text for path, text in sorted(files.items())}
    return {name: text for name, text in modules.items() if name.rpartition(".")[2] != "__init__"}


def _zipped(sources: dict[str, str]) -> bytes:
    """The sources as a zip that Python runs; the same sources give the same bytes."""
    import io
    import zipfile

    root = PACKAGE.replace(".", "/")
    files = {"__main__.py": _MAIN, "deployer/__init__.py": "", root + "/__init__.py": ""}
    files.update((f"{root}/{name.replace('.', '/')}/__init__.py", "") for name in packages(sources))
    files.update((f"{root}/{name.replace('.', '/')}.py", source) for name, source in sources.items())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zip_archive:
        for name in sorted(files):
            zip_archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
