"""Files, folders and links: what must happen so that they are as resources say. It can be undone."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Union

from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Absent, Directory, File, Link
from deployer.agent.operation import OpError
from deployer.agent.provisioning import users
from deployer.agent.provisioning.managed_files import DIRECTORY, ManagedFiles, digest, link_digest
from deployer.agent.site import shared_folders, shared_owners
from deployer.agent.system import disk, files, tree, trusted_path

if TYPE_CHECKING:
    from deployer.agent.model.messages.resources import ResourceChange, ResourceRefusal

Placed = Union[File, Directory, Link, Absent]
# The first line of every unit. Two apps may come to one name: `shop` with a process `a-b`, and `shop-a` with one `b`.
_WRITTEN_FOR = re.compile(rb"[#;] Written by deploy for the app ([a-z][a-z0-9-]*);")
_RENAME = "rename the process or the schedule in deploy.yaml, so that its unit has another name"
KINDS = {File: "file", Directory: "directory", Link: "link", Absent: "absent"}


@dataclass
class Change:
    """One change: `do` carries it out, `undo` puts back what was there. `new` is its digest, empty for nothing."""

    kind: str
    name: str
    action: str
    do: Callable[[], None]
    diff: str = ""
    notify: tuple[str, ...] = ()
    undo: Callable[[], None] = lambda: None
    new: str | None = None

    def as_dict(self) -> ResourceChange:
        """The change as it is reported."""
        return {"kind": self.kind, "name": self.name, "action": self.action, "diff": self.diff}


@dataclass(frozen=True)
class Refusal:
    """Why a resource may not be made so without `replace`, or at all."""

    kind: str
    name: str
    why: str
    diff: str = ""
    hint: str = ""

    def as_dict(self) -> ResourceRefusal:
        """The refusal as it is reported."""
        return {"kind": self.kind, "name": self.name, "why": self.why, "diff": self.diff, "hint": self.hint}


@dataclass(frozen=True)
class FileState:
    """What is at a path now. `what` is missing, file, link, directory or other; `data` a file's bytes."""

    what: str
    data: bytes = b""
    target: str = ""
    mode: int = 0
    owner: tuple[int, int] = (0, 0)

    @property
    def digest(self) -> str:
        """What the record would say of it."""
        return {"file": digest(self.data), "link": link_digest(self.target), "directory": DIRECTORY}.get(self.what, "")


def look(path: str) -> FileState:
    """What is at `path`, links not followed.

    Raises OSError for what cannot be read, OpError `untrusted_link` (`trusted_path.held`).
    """
    try:
        with trusted_path.held(path) as place:
            return _look(place)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return FileState("missing")


def _look(path: str) -> FileState:
    status = os.lstat(path)
    mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
    if stat.S_ISLNK(status.st_mode):
        return FileState("link", target=os.readlink(path), mode=mode, owner=owner)
    if stat.S_ISDIR(status.st_mode):
        return FileState("directory", mode=mode, owner=owner)
    if not stat.S_ISREG(status.st_mode):
        return FileState("other", mode=mode, owner=owner)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return FileState("file", data=file.read(), mode=mode, owner=owner)


class FileChanges:
    """Compares resources with the host. Changes nothing itself; `adopted` collects what was found as it should be."""

    def __init__(self, site: Site, created: ManagedFiles, replace: bool) -> None:
        self._site = site
        self._created = created
        self._replace = replace
        self.adopted: dict[str, str] = {}

    def plan(self, resource: Placed) -> Change | Refusal | None:
        """The step that makes it so, why that is refused, or None when it is so."""
        if isinstance(resource, Directory) and _is_shared(self._site, resource.path):
            return self._shared_folder(resource)
        state = look(resource.path)
        spot = disk.obstacle(resource.path) if state.what == "missing" else resource.path
        if spot != resource.path and not isinstance(resource, Absent):
            return _blocked(KINDS[type(resource)], resource.path, spot)
        if isinstance(resource, Directory):
            return self._directory(resource, state)
        if isinstance(resource, Absent):
            return self._absent(resource, state)
        if isinstance(resource, Link):
            return self._link(resource, state)
        return self._file(resource, state)

    def _file(self, file: File, state: FileState) -> Change | Refusal | None:
        if file.initial and state.what != "missing":
            return None
        data = file.content.encode("utf-8")
        mode = int(file.mode, 8)
        if state.what == "file" and state.data == data:
            self.adopted[file.path] = digest(data)
            if _has(state, file.owner, file.group, mode):
                return None
            action, difference = "permissions", ""
        else:
            action = "create" if state.what == "missing" else "change"
            difference = file.told if file.sensitive else text_diff(file.path, state, data)
            other = _other_app(self._site, state)
            if other:
                why = f"deploy wrote it for the app {other}, which is on this host too"
                return Refusal("file", file.path, why, difference, _RENAME)
            why = self._why_not(file.path, state)
            if why:
                return Refusal("file", file.path, why, difference)

        def do() -> None:
            with trusted_path.held(file.path, make=True) as place:
                files.write(place, data, mode, users.owner_of(file.owner, file.group))

        put_back = restorer(file.path, state)
        return Change("file", file.path, action, do, difference, file.notify, put_back, digest(data))

    def _link(self, link: Link, state: FileState) -> Change | Refusal | None:
        if state.what == "link" and state.target == link.target:
            self.adopted[link.path] = state.digest
            return None
        difference = f"-> {link.target}\n"
        why = self._why_not(link.path, state)
        if why:
            return Refusal("link", link.path, why, difference)

        def do() -> None:
            with trusted_path.held(link.path, make=True) as place:
                files.replace_link(place, link.target)

        action = "create" if state.what == "missing" else "change"
        put_back = restorer(link.path, state)
        return Change("link", link.path, action, do, difference, link.notify, put_back, link_digest(link.target))

    def _directory(self, folder: Directory, state: FileState) -> Change | Refusal | None:
        mode = int(folder.mode, 8)

        def do() -> None:
            with trusted_path.held(folder.path, make=True) as place:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(place, 0o755)
                fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                owner = users.owner_of(folder.owner, folder.group)
                if owner:
                    os.fchown(fd, owner[0], owner[1])
                os.fchmod(fd, mode)
            finally:
                os.close(fd)

        if state.what == "missing":
            return Change("directory", folder.path, "create", do, new=DIRECTORY)
        if state.what != "directory":
            if state.what == "link" and os.path.isdir(folder.path):
                return None
            return _blocked("directory", folder.path, folder.path)
        if _has(state, folder.owner, folder.group, mode) or not self._may_change(folder.path):
            return None
        if folder.path == self._site.shared and shared_owners.is_used_by(self._site, state.owner[0]):
            return None  # the release that runs as that user needs it until a push has taken its place
        return Change("directory", folder.path, "permissions", do, new=DIRECTORY)

    def _shared_folder(self, folder: Directory) -> Change | Refusal | None:
        """A folder below `shared/`, which is the app's: made where it is missing, and left as it is where it is not."""
        path, root = os.path.normpath(folder.path), self._site.shared
        spot = disk.obstacle(path)
        if spot == path and os.path.isdir(path):
            return None
        if os.path.lexists(spot) and not _gives_way(spot, folder):
            return _blocked("directory", path, spot)
        with contextlib.suppress(OSError):
            try:
                look(path)
            except OpError:
                return None  # a link above it leads to a folder, in which nothing is made

        def do() -> None:
            owner = users.owner_of(folder.owner, folder.group) or (os.geteuid(), os.getegid())
            shared_folders.make_folders(root, os.path.relpath(path, root), owner)

        return Change("directory", path, "create", do, new=DIRECTORY)

    def _may_change(self, path: str) -> bool:
        below_root = path != self._site.root and tree.inside(self._site.root, path)
        return below_root or self._replace or self._created.known(path)

    def _absent(self, absent: Absent, state: FileState) -> Change | Refusal | None:
        if state.what in ("missing", "directory", "other") or not self._created.known(absent.path):
            return None
        difference = text_diff(absent.path, state, None)
        if _other_app(self._site, state):
            return None
        why = self._why_not(absent.path, state)
        if why:
            return Refusal("absent", absent.path, why, difference)
        put_back = restorer(absent.path, state)

        def do() -> None:
            with trusted_path.held(absent.path) as place:
                os.unlink(place)

        return Change("absent", absent.path, "remove", do, difference, absent.notify, put_back, "")

    def _why_not(self, path: str, state: FileState) -> str:
        """Why what is there may not be overwritten; empty if it may."""
        if state.what in ("directory", "other"):
            return "a %s is there" % ("folder" if state.what == "directory" else "special file")
        if state.what == "missing" or self._replace or self._created.owns(path, state.digest):
            return ""
        return "it was changed since" if self._created.known(path) else "it is there, and not made by deploy"


def _is_shared(site: Site, path: str) -> bool:
    """Whether a path lies below `shared/`."""
    path = os.path.normpath(path)
    return path != site.shared and tree.inside(site.shared, path)


def _gives_way(path: str, folder: Directory) -> bool:
    """Whether that is a link of the app's own that leads nowhere, in whose place a folder may come."""
    try:
        owner = users.owner_of(folder.owner, folder.group) if folder.owner else None
    except KeyError:
        owner = None
    return owner is not None and not os.path.exists(path) and os.lstat(path).st_uid == owner[0]


def _blocked(kind: str, path: str, spot: str) -> Refusal:
    """The refusal for a path of which the part `spot` has to be a folder and is something else."""
    return Refusal(kind, path, f"{spot} is {disk.describe(spot)}, and has to be a folder", hint=disk.hint_for(spot))


def _other_app(site: Site, state: FileState) -> str:
    """The app whose unit is there, if it is not this one's; empty else."""
    match = _WRITTEN_FOR.match(state.data)
    app = match.group(1).decode() if match else site.app
    return app if app != site.app else ""


def _has(state: FileState, owner: str, group: str, mode: int) -> bool:
    """Whether owner and mode are as wanted; an owner that does not exist yet is not."""
    try:
        desired_owner = users.owner_of(owner, group)
    except KeyError:
        return False
    return state.mode == mode and (desired_owner is None or state.owner == desired_owner)


def restorer(path: str, state: FileState) -> Callable[[], None]:
    """What puts back at `path` what was found there."""

    def restore() -> None:
        if state.what == "missing" and not os.path.lexists(path):
            return
        with trusted_path.held(path, make=True) as place:
            if state.what == "file":
                files.write(place, state.data, state.mode, state.owner if os.geteuid() == 0 else None)
            elif state.what == "link":
                files.replace_link(place, state.target)
            elif state.what == "missing":
                os.unlink(place)

    return restore


def text_diff(path: str, state: FileState, new: bytes | None) -> str:
    """A unified diff from what was found to `new`; None: removed. Bytes that are no text are not shown."""
    if state.what == "link":
        return f"was -> {state.target}\n"
    old = state.data if state.what == "file" else None
    try:
        before = (old or b"").decode("utf-8").splitlines()
        after = (new or b"").decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return "(not text)"
    names = ("/dev/null" if old is None else path, "/dev/null" if new is None else path)
    return "".join(line + "\n" for line in difflib.unified_diff(before, after, names[0], names[1], lineterm=""))
