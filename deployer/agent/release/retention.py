"""Which releases and virtualenvs may go: everything that no link, process, rollback or other release needs."""

from __future__ import annotations

import contextlib
import os
from typing import Callable

from deployer.agent.dependencies import venv_integrity
from deployer.agent.model import release_id
from deployer.agent.model.layout import MARKER, Site
from deployer.agent.operation import OpError
from deployer.agent.site import ledger, links
from deployer.agent.system import procfs, tree


class Pruner:
    """The releases of a site, and what each is used by.

    A tree that the system does not let go (a mount point, an immutable file) does not keep the others from going:
    `failed` has its path, with the reason.

    Args:
        complete: tells whether a release was built to its end.
    """

    def __init__(self, site: Site, complete: Callable[[Site, str], bool]) -> None:
        self.site = site
        self._complete = complete
        self.failed: dict[str, str] = {}

    def running(self) -> dict[str, str]:
        """Release → the process that runs in it right now, in words.

        One that went to another folder, as the run of a schedule may, is known by what it was started with.
        """
        processes_by_release: dict[str, str] = {}
        for pid in procfs.pids():
            for release in (*self._places(pid), self._started_with(pid)):
                if release:
                    processes_by_release[release] = "process %d" % pid
        return processes_by_release

    def used(self) -> dict[str, str]:
        """Release → what uses it right now, in words."""
        users_by_release = self.running()
        for name, release in links.used(self.site).items():
            users_by_release[release] = name
        current = links.release_at(self.site.current)
        if current:
            users_by_release[current] = "current"
        return users_by_release

    def releases(self, keep: int, protect: set[str]) -> list[str]:
        """Removes what may go; the ids removed, oldest first. Withdrawn ones stay where proven ones leave room."""
        return self._removed(self._staying(keep, protect))

    def removable(self, keep: int, protect: set[str]) -> tuple[list[str], list[str]]:
        """The ids of the releases and the names of the virtualenvs that would go. Removes nothing."""
        staying = self._staying(keep, protect)
        folders = release_id.list_releases(self.site)
        gone = [name for name in folders if name not in staying]
        return gone, self._unlinked_venvs(set(gone))

    def _staying(self, keep: int, protect: set[str]) -> set[str]:
        good, gone = ledger.standing(ledger.read(self.site))
        folders = release_id.list_releases(self.site)
        proven = [name for name in (*gone, *good) if name in folders and self._complete(self.site, name)]
        return set(proven[-max(1, keep) :]) | protect | set(self.used())

    def everything(self) -> None:
        """Removes all releases and virtualenvs, and their folders where nothing of a stranger's lies in them.

        Raises OpError `not_removed` at the end, when some of them could not be removed.
        """
        self._removed(set())
        self.venvs()
        for folder in (self.site.releases, self.site.venvs, self.site.slots, self.site.processes, self.site.schedules):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if self.failed:
            reasons = ["{}: {}".format(*item) for item in self.failed.items()]
            hint = "make them removable on that host (mount, lsattr -d), then type deploy {command} {env}"
            raise OpError("not_removed", f"cannot remove {', '.join(reasons)}", hint)

    def _removed(self, stays: set[str]) -> list[str]:
        """Removes all releases but `stays`; returns their ids, oldest first. Foreign names are left alone."""
        removed = []
        for name in release_id.list_releases(self.site):
            if name not in stays and self._try_remove(self.site.release(name), MARKER):
                removed.append(name)
        return removed

    def _try_remove(self, path: str, marker: str) -> bool:
        """Removes a tree, its marker first, so that what is left of it does not pass for complete."""
        try:
            tree.remove(path, first=marker)
        except OSError as error:
            self.failed[path] = _reason(error, path)
            return False
        return True

    def venvs(self) -> list[str]:
        """Removes virtualenvs that no release links to and no process runs from; the keys removed."""
        keys = self._unlinked_venvs(set())
        return [key for key in keys if self._try_remove(self.site.venv(key), venv_integrity.MARKER)]

    def _unlinked_venvs(self, gone: set[str]) -> list[str]:
        """The virtualenvs that would go with the releases `gone`."""
        linked = {self._venv_of(name) for name in _listed(self.site.releases) if name not in gone}
        unlinked_venvs = []
        for key in sorted(_listed(self.site.venvs)):
            path = self.site.venv(key)
            is_managed = os.path.exists(path + "/" + venv_integrity.MARKER) or os.path.exists(path + "/pyvenv.cfg")
            if is_managed and key not in linked and not self._runs_from(path):
                unlinked_venvs.append(key)
        return unlinked_venvs

    def _venv_of(self, release: str) -> str | None:
        return links.release_at(self.site.release(release) + "/.venv")

    def _places(self, pid: int) -> list[str | None]:
        return [self._release_of(procfs.link(pid, name)) for name in ("cwd", "exe")]

    def _started_with(self, pid: int) -> str | None:
        environment = procfs.environment(pid)
        is_of_site = (environment.get("DEPLOY_APP"), environment.get("DEPLOY_ENV")) == (self.site.app, self.site.env)
        return environment.get("DEPLOY_RELEASE") if is_of_site and "DEPLOY_SCHEDULE" in environment else None

    def _release_of(self, path: str | None) -> str | None:
        # /proc shows paths without links; a root that is reached through one has another name there
        for releases in {self.site.releases, os.path.realpath(self.site.releases)}:
            if path and path.startswith(releases + "/"):
                return path[len(releases) + 1 :].split("/")[0]
        return None

    def _runs_from(self, path: str) -> bool:
        real = os.path.realpath(path)
        seen = (procfs.link(pid, name) for pid in procfs.pids() for name in ("cwd", "exe"))
        return any(link is not None and tree.inside(real, link) for link in seen)


def _reason(error: OSError, tree_path: str) -> str:
    """The system's words, with the path below the tree that they are about."""
    reason = error.strerror or str(error)
    path = error.filename if isinstance(error.filename, str) else tree_path
    return reason if path == tree_path else f"{reason} ({path})"


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
