"""The Python modules of a source folder, parsed and never imported, with their names as Python will import them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from deployer.settings.inference.app.roots import Roots

_SKIPPED = {
    "__pycache__", "venv", "env", "build", "dist", "tests", "test", "migrations", "site-packages",
    "alembic", "vendor",
}  # fmt: skip
_NO_APPS = {"conftest.py", "setup.py", "noxfile.py"}
_MOST_FILES = 5000
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Module:
    """One file: its dotted `name` below the import `root` ("" is the source folder itself), and its syntax tree."""

    name: str
    file: str
    root: str
    package: bool
    tree: ast.Module = field(repr=False)

    @cached_property
    def imports(self) -> dict[str, str]:
        """Local name → dotted name of what was imported under it, anywhere in the module."""
        dotted_names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    dotted_names[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                for alias in node.names:
                    dotted_names[alias.asname or alias.name] = f"{origin}.{alias.name}" if origin else alias.name
        return dotted_names

    @cached_property
    def statements(self) -> tuple[ast.stmt, ...]:
        """Statements that run at import, also those in `if`, `try` and `with`, but not those of `__main__`."""
        return tuple(_flat(self.tree.body))

    @cached_property
    def assigned(self) -> dict[str, list[ast.expr]]:
        """Name → the values it gets anywhere in the module, functions included."""
        values_by_name: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self.tree):
            for name, value in assignments(node):
                values_by_name.setdefault(name, []).append(value)
        return values_by_name

    def qualified(self, node: ast.expr) -> str | None:
        """`shop.core.app` for an expression that names something; None for any other."""
        if isinstance(node, ast.Name):
            return self.imports.get(node.id, f"{self.name}.{node.id}")
        if isinstance(node, ast.Attribute):
            owner = self.qualified(node.value)
            return f"{owner}.{node.attr}" if owner else None
        return None

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        drop = node.level - 1 if self.package else node.level
        base = parts[: len(parts) - drop] if drop else parts
        return ".".join([*base, *([node.module] if node.module else [])])


@dataclass(frozen=True)
class Code:
    """All modules of a source folder. `unreadable` are files that do not parse, with their error."""

    modules: tuple[Module, ...]
    unreadable: tuple[str, ...]
    folder: Path

    def has(self, top: str) -> bool:
        """Return whether a module or a package of that name, without dots, is in it."""
        return any(module.name.partition(".")[0] == top for module in self.modules)

    def may_have(self, name: str) -> bool:
        """Return whether something below the folder could be imported by that dotted name: also what does not parse,
        what is left out here, a compiled module, and a folder that a package is built from."""
        *above, last = name.split(".")
        for directory, folders, files in os.walk(self.folder):
            folders[:] = [entry for entry in folders if not _of_others(Path(directory, entry))]
            if list(Path(directory).parts[len(Path(directory).parts) - len(above) :]) == above and (
                last in folders or any(entry.partition(".")[0] == last for entry in files)
            ):
                return True
        return False

    def __getitem__(self, name: str) -> Module:
        """The module of that dotted name; KeyError if there is none."""
        for module in self.modules:
            if module.name == name:
                return module
        raise KeyError(name)


def assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the plain names that a statement binds, each with its value."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value


def read_code(folder: Path) -> Code:
    """Parse every module below `folder`, leaving out tests, virtualenvs and hidden folders."""
    trees: dict[PurePosixPath, ast.Module] = {}
    unreadable: list[str] = []
    for path in _files(folder):
        file = path.relative_to(folder).as_posix()
        try:
            trees[PurePosixPath(file)] = ast.parse(path.read_bytes(), filename=file)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
            line = getattr(problem, "lineno", None)
            unreadable.append(f"{file}:{line}: {getattr(problem, 'msg', problem)}" if line else f"{file}: {problem}")
        except OSError:
            continue
    roots, modules = Roots(folder, trees), []
    for inside, tree in trees.items():
        root = roots.of(inside)
        name, package = _module_name(inside.relative_to(root))
        if name:
            modules.append(Module(name, str(inside), "" if str(root) == "." else str(root), package, tree))
    return Code(tuple(modules), tuple(unreadable), folder)


def _files(folder: Path) -> Iterator[Path]:
    seen = 0
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _skipped(Path(directory, name)))
        for name in sorted(names):
            path = Path(directory, name)
            if not name.endswith(".py") or name.startswith("test_") or name in _NO_APPS:
                continue
            seen += 1
            if seen > _MOST_FILES:
                return
            if path.is_file() and path.stat().st_size <= _MOST_BYTES:
                yield path


def _skipped(folder: Path) -> bool:
    return folder.name in _SKIPPED or _of_others(folder)


def _of_others(folder: Path) -> bool:
    """Hidden, or a virtualenv."""
    return folder.name.startswith(".") or folder.name == "node_modules" or (folder / "pyvenv.cfg").exists()


def _module_name(relative: PurePosixPath) -> tuple[str, bool]:
    parts = relative.with_suffix("").parts
    package = parts[-1] == "__init__"
    parts = parts[:-1] if package else parts
    return (".".join(parts), package) if parts and all(part.isidentifier() for part in parts) else ("", False)


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If):
            if "__main__" not in ast.dump(statement.test):
                yield from _flat(statement.body + statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from _flat(statement.body + statement.orelse + statement.finalbody)
        elif isinstance(statement, ast.With):
            yield from _flat(statement.body)
        else:
            yield statement
