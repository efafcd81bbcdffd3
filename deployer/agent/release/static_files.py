"""Static files of all kept releases: a page of one release finds its files at an instance of any other.

When a release is made, files that earlier ones have and it lacks are linked into its folder of static files; before it
counts, its own are linked into theirs. A file that is there already is left: each release answers with its own.
`.deploy-static.json` lists a release's own files, so that what came from others does not live for ever. The folder
`.deploy-www` of a release is what a web server on that host may serve: its one link is named as the URL is.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deployer.agent.model.layout import STATIC_NAMES, WWW, Site
from deployer.agent.model.manifest import problem, reserved
from deployer.agent.operation import OpError
from deployer.agent.system import tree

if TYPE_CHECKING:
    from deployer.agent.model.messages.releases import StaticFolder


class StaticFiles:
    """Those of one release. OpError `invalid` for a folder that no release can have.

    Args:
        spec: `dir`, the folder in the release, and `url`, the path below which it is served, without a host.
        complete: the site's other complete releases.
    """

    def __init__(self, site: Site, release: str, spec: StaticFolder, complete: Iterable[str]) -> None:
        self.folder = spec["dir"].strip("/")
        self._url = spec["url"].strip("/")
        for path in (self.folder, self._url):
            why = problem(path) or (reserved(path) if path == self.folder else None)
            if why:
                raise OpError("invalid", f"static files at {path!r}: {why}")
        self._site = site
        self._release = release
        self._other_releases = [name for name in complete if name != release]

    def gather(self) -> int:
        """Notes what the release has, and links in what others have of theirs; how many files those are.

        The release is not sealed yet. OpError `no_static` when it has no such folder.
        """
        path = self._site.release(self._release)
        if not os.path.isdir(path + "/" + self.folder):
            hint = "have hooks.build or hooks.prepare make it (collectstatic …), or mend static.dir in deploy.yaml"
            raise OpError("no_static", f"static.dir is {self.folder}, and the release has no such folder", hint)
        own = _files(path + "/" + self.folder)
        for name in (STATIC_NAMES, WWW):  # a hook may have put something there
            tree.remove(path + "/" + name)
        _write(path + "/" + STATIC_NAMES, {"dir": self.folder, "files": own})
        link = path + "/" + WWW + "/" + self._url
        os.makedirs(os.path.dirname(link), tree.FOLDER)
        up = posixpath.relpath("/" + self.folder, posixpath.dirname("/" + WWW + "/" + self._url))
        os.symlink(up, link)
        return sum(
            self._link(release, names, self._release)
            for release, names in self._listed(sorted(self._other_releases, reverse=True))
        )

    def offer(self) -> int:
        """Links the sealed release's own files into the others, where they lack them; how many that made."""
        return sum(
            self._link(self._release, names, release)
            for _, names in self._listed([self._release])
            for release, _ in self._listed(self._other_releases)
        )

    def _listed(self, releases: Iterable[str]) -> list[tuple[str, list[str]]]:
        """Those releases whose static files lie in the same folder, and the names of their own."""
        listed = []
        for release in releases:
            try:
                with open(self._site.release(release) + "/" + STATIC_NAMES, encoding="utf-8") as file:
                    noted = json.load(file)
            except (FileNotFoundError, ValueError):
                continue
            if isinstance(noted, dict) and noted.get("dir") == self.folder:
                listed.append((release, [str(name) for name in noted.get("files") or ()]))
        return listed

    def _link(self, source: str, names: list[str], target: str) -> int:
        source_prefix = self._site.release(source) + "/" + self.folder + "/"
        target_prefix = self._site.release(target) + "/" + self.folder + "/"
        missing = [name for name in names if not os.path.lexists(target_prefix + name)]
        opened: dict[str, int] = {}
        count = 0
        try:
            for name in missing:
                if _open(target_prefix.rstrip("/"), posixpath.dirname(name), opened):
                    tree.link(source_prefix + name, target_prefix + name, 0o444)
                    count += 1
        finally:
            for folder, mode in opened.items():
                os.chmod(folder, mode)
        return count


def _open(root: str, inner: str, opened: dict[str, int]) -> bool:
    """Makes `root/inner` a folder that can be written to; False where something else has that name."""
    folder = root + "/" + inner if inner else root
    if folder in opened:
        return True
    if inner and not _open(root, posixpath.dirname(inner), opened):
        return False
    if not os.path.lexists(folder):
        sealed = opened[os.path.dirname(folder)]
        os.mkdir(folder, tree.FOLDER)
        opened[folder] = sealed
    elif os.path.isdir(folder) and not os.path.islink(folder):
        opened[folder] = os.stat(folder).st_mode & 0o7777
        os.chmod(folder, opened[folder] | 0o700)
    else:
        return False
    return True


def _files(root: str) -> list[str]:
    """Plain files below `root` that anybody may read, relative to it."""
    paths = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = folder + "/" + name
            if os.path.isfile(path) and not os.path.islink(path) and os.stat(path).st_mode & 0o004:
                paths.append(os.path.relpath(path, root))
    return sorted(paths)


def _write(path: str, value: dict[str, Any]) -> None:
    with open(path, "x", encoding="utf-8") as file:
        json.dump(value, file)
