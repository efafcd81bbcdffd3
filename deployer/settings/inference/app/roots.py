"""From which folder the modules of a tree are named: what Python has to have on its path to import them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

_TOP = PurePosixPath(".")


class Roots:
    """The import roots of parsed files, derived from their imports: `src/py` where `src/py/app/main.py` has `import
    app`.

    A package is named from one folder: what most of its files tell. What tells nothing is named from a `src` above
    it, else from the source folder.
    """

    def __init__(self, folder: Path, trees: Mapping[PurePosixPath, ast.Module]) -> None:
        self._folder = folder
        self._is_module = cache(self._looked_up)
        self._votes: dict[PurePosixPath, Counter[PurePosixPath]] = {}
        for file, tree in trees.items():
            root = self._told_by(file, tree)
            if root is not None:
                for above in (file, *file.parents):
                    self._votes.setdefault(above, Counter())[root] += 1

    def of(self, file: PurePosixPath) -> PurePosixPath:
        """Return the folder, relative to the source folder, from which the module of that file is named."""
        base = self._base(file)
        if base == _TOP:
            return base
        package = file.parent != base
        beginning = base / file.relative_to(base).parts[0] if package else file
        for above in (beginning, *beginning.parents):
            fit = [root for root, _ in self._votes.get(above, Counter()).most_common() if base.is_relative_to(root)]
            if fit and above != _TOP:
                return fit[0]
        return next((folder for folder in (base, *base.parents) if folder.name == "src"), _TOP)

    def _base(self, file: PurePosixPath) -> PurePosixPath:
        """Return the innermost folder that can be the root: the one around the package that the file is in."""
        above = file.parent
        while above != _TOP and (self._folder / above / "__init__.py").exists():
            above = above.parent
        return above

    def _told_by(self, file: PurePosixPath, tree: ast.Module) -> PurePosixPath | None:
        base = self._base(file)
        if base == _TOP:
            return None
        imported = list(_imported(tree))
        if base == file.parent:  # a folder that relative imports make a package, without __init__.py
            level = max((level for level, _ in imported), default=0)
            base = (base, *base.parents)[min(level, len(base.parts))]
        roots = (base, *base.parents)
        names = [name for level, name in imported if not level]
        for root in roots:
            own = file.relative_to(root).parts[0]
            if any(name[:1] == (own,) and self._is_module(root, name) for name in names):
                return root
        for name in names:
            for root in reversed(roots):
                if self._is_module(root, name):
                    return root
        return None

    def _looked_up(self, root: PurePosixPath, name: tuple[str, ...]) -> bool:
        """Return whether a dotted name, as far as its second part, is a module below that root."""
        return all(_is_file_or_package(self._folder / root.joinpath(*name[:length])) for length in (1, 2)[: len(name)])


def _imported(tree: ast.Module) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield every import: how many dots it begins with, and the names after them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, tuple(alias.name.split("."))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, tuple(node.module.split(".")) if node.module else ()


def _is_file_or_package(path: Path) -> bool:
    return path.with_name(path.name + ".py").is_file() or (path.is_dir() and any(path.glob("*.py")))
