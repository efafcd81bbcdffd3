"""Which releases may answer: the lines of a file to which the deployer appends a release before it is admitted."""

from __future__ import annotations

from pathlib import Path


class ProvenReleases:
    """The releases in `path`, one a line. The file is read again whenever an unknown one answers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: frozenset[str] = frozenset()

    def __contains__(self, release: str) -> bool:
        if release not in self._known:
            self._known = self._read()
        return release in self._known

    def _read(self) -> frozenset[str]:
        try:
            return frozenset(self._path.read_text(encoding="utf-8").split())
        except FileNotFoundError:
            return frozenset()
