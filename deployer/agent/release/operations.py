"""Releases: begun, filled, built, pruned. See docs/operations.md for what each takes and answers.

begin    what of the manifest is missing here; unchanged files are taken from earlier releases, checked by hash
fill     the missing content
build    the folder at its final path, its virtualenv, hooks and checks; then it is sealed and its marker written

A release is complete when its marker is there, which is written and flushed last. Every step may be repeated after a
crash at any point: `begin` clears away what an unfinished attempt left. The caller holds the site's lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator

from deployer.agent.dependencies import tools, uv_cache, venv
from deployer.agent.model import release_id
from deployer.agent.model.layout import Site
from deployer.agent.model.manifest import Manifest
from deployer.agent.model.messages import releases as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.release import release_hook
from deployer.agent.release.build import Building
from deployer.agent.release.retention import Pruner
from deployer.agent.release.static_files import StaticFiles
from deployer.agent.release.upload import BlobStore
from deployer.agent.site import links, secrets
from deployer.agent.system import disk, orphans, tree
from deployer.agent.system.weight import weigh

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}\Z")
_SPARE = 32 << 20  # bytes that stay free on the disk beside what a release needs
_SPARE_INODES = 500


def _longest_build(request: wire.BuildRelease) -> float:
    """Seconds for the virtualenv, the prepare hook, the check of the app, and the compilation."""
    parts = (request["venv"], request.get("prepare"), request.get("check"))
    return 600.0 + sum(part.get("timeout", 0.0) for part in parts if part)


@operation(wire.BEGIN)
def begin(ctx: Context, request: wire.ReleaseContent) -> wire.Begun:
    """Takes the manifest of a release and says what of its content is missing here.

    Raises:
        OpError: `no_space` (detail: `needed`, `free`, bytes), `not_set_up`, `invalid`, `in_use`.
    """
    site, release = _which(request)
    _require_set_up(site)
    manifest = _manifest(ctx.read_body())
    if complete(site, release):
        return {"complete": True, "missing": [], "missing_bytes": 0, "reused": 0}
    _clear(site, release)
    incoming = BlobStore(site, release)
    with _disk_full(site, incoming):
        incoming.reset(manifest)
        reused = incoming.reuse(manifest, list(reversed(_complete(site))))
        key = str(request.get("venv") or "")
        missing = incoming.missing(manifest, with_wheels=not (key and venv.complete(site, key)))
    _require_space(site, sum(missing.values()), len(manifest.files))
    total = len(manifest.files)
    ctx.progress("%d of %d files are here already" % (total - len(missing), total), reused=reused, files=total)
    return {
        "complete": False,
        "missing": sorted(missing),
        "missing_bytes": sum(missing.values()),
        "reused": reused,
    }


@operation(wire.FILL)
def fill(ctx: Context, request: wire.ReleaseContent) -> wire.Filled:
    """Takes the blobs that `release.begin` found missing.

    Raises:
        OpError: `corrupt` (nothing of it is kept), `not_begun`: begin again. `no_space`, `invalid`.
    """
    site, release = _which(request)
    incoming = BlobStore(site, release)
    manifest = incoming.manifest()
    key = str(request.get("venv") or "")
    missing_sizes = incoming.missing(manifest, with_wheels=not (key and venv.complete(site, key)))
    if not missing_sizes:
        for _ in ctx.body:
            pass
        return {"files": 0, "bytes": 0}
    with _disk_full(site, incoming):
        files, size = incoming.unpack(ctx.body, missing_sizes)
    ctx.progress("%d files, %d bytes arrived" % (files, size), files=files, bytes=size)
    return {"files": files, "bytes": size}


@operation(wire.BUILD, longest=_longest_build)
def build(ctx: Context, request: wire.BuildRelease) -> wire.Built:
    """Makes a complete release of what was gathered.

    A failed release is gone; a complete virtualenv stays.

    Raises:
        OpError: `install_failed`, `prepare_failed`, `check_failed`, `missing_server`, with log. `no_static`,
            `no_space`, `not_begun`, `invalid`.
    """
    began = time.monotonic()
    site, release = _which(request)
    if complete(site, release):
        return {"built": False, "venv_built": False, "seconds": 0.0}
    incoming = BlobStore(site, release)
    folder = request.get("static")
    static = StaticFiles(site, release, folder, _complete(site)) if folder else None
    building = Building(ctx, site, release, request, incoming)
    with _disk_full(site, incoming):
        try:
            building.assemble()
            venv_built = venv.ensure(
                ctx, site, request["venv"], incoming.place_wheels(building.manifest), building.venv
            )
            building.finish(static)
        except BaseException:
            tree.remove(site.release(release))
            raise
        finally:
            incoming.drop()
    return {"built": True, "venv_built": venv_built, "seconds": round(time.monotonic() - began, 3)}


@operation(wire.PRUNE)
def prune(ctx: Context, request: wire.Prune) -> wire.Pruned:
    """Removes releases beyond the newest `keep` proven ones, and virtualenvs that none of the rest links to.

    What `current`, a slot or a live process uses, `protect` names or was proven last is never touched.
    """
    site = Site.of(request)
    retiring = Pruner(site, complete)
    keep, protect = int(request["keep"]), {str(name) for name in request.get("protect", ())}
    size = inodes = 0
    if request.get("weigh"):
        removed, keys = retiring.removable(keep, protect)
        size, inodes = weigh([*map(site.release, removed), *map(site.venv, keys)])
        if request.get("dry_run"):
            return {"removed": removed, "venvs": keys, "failed": {}, "bytes": size, "inodes": inodes}
    removed = retiring.releases(keep, protect)
    keys = retiring.venvs()
    release_hook.forget(site)
    uv = tools.find_uv(site) if keys else None  # a virtualenv that went is when a cache comes to outweigh them
    if uv:
        uv_cache.bound(site, uv)
    if removed or keys:
        ctx.progress("removed %d old releases" % len(removed), releases=removed, venvs=keys)
    answer: wire.Pruned = {"removed": removed, "venvs": keys, "failed": retiring.failed}
    if request.get("weigh"):
        kept_size, kept_inodes = weigh(retiring.failed) if retiring.failed else (0, 0)
        answer["bytes"], answer["inodes"] = max(0, size - kept_size), max(0, inodes - kept_inodes)
    return answer


@operation(wire.DISCARD)
def discard(ctx: Context, request: wire.OneRelease) -> wire.Removed:
    """Removes one release that nothing uses.

    Raises:
        OpError: `in_use` (by what), `invalid`.
    """
    site, release = _which(request)
    BlobStore(site, release).drop()
    used = Pruner(site, complete).used().get(release)
    if used:
        raise OpError("in_use", f"release {release} is used by {used}, so it was not removed")
    return {"removed": tree.remove(site.release(release))}


@operation(wire.MARKER)
def marker(ctx: Context, request: wire.OneRelease) -> wire.MarkerRead:
    """Reads what a complete release says of itself.

    Raises:
        OpError: `invalid`.
    """
    site, release = _which(request)
    try:
        with open(site.marker(release), encoding="utf-8") as file:
            return {"marker": json.load(file)}
    except (FileNotFoundError, ValueError):
        return {"marker": None}


def complete(site: Site, release: str) -> bool:
    """Whether a release was built to its end."""
    return os.path.isfile(site.marker(release))


def _clear(site: Site, release: str) -> None:
    """Takes away what an unfinished attempt at this release left, and whoever still writes to it.

    OpError `in_use` when a link leads to it all the same: only a person can have brought that about.
    """
    if release in (links.release_at(site.current), *links.slots(site).values()):
        raise OpError(
            "in_use", f"release {release} is in use and has lost its marker", "deploy push {env}, as a new release"
        )
    if os.path.isdir(site.release(release)):
        orphans.kill_under(site.release(release))
    tree.remove(site.release(release))


def _which(request: wire.ReleaseContent | wire.BuildRelease | wire.OneRelease) -> tuple[Site, str]:
    release = request["release"]
    if not _ID.match(release):
        raise OpError("invalid", f"{release!r} is not a release id")
    return Site.of(request), release


def _complete(site: Site) -> list[str]:
    """Complete releases, oldest first."""
    return [name for name in release_id.list_releases(site) if complete(site, name)]


def _manifest(data: bytes) -> Manifest:
    try:
        return Manifest.from_bytes(data)
    except ValueError as error:
        raise OpError("invalid", str(error)) from None


def _require_set_up(site: Site) -> None:
    hint = f"type deploy setup {site.env}"
    if not os.path.isdir(site.root):
        raise OpError("not_set_up", f"{site.root} does not exist", hint)
    try:
        for folder in (site.releases, site.venvs, site.slots, site.shared):
            os.makedirs(folder, 0o755, exist_ok=True)
        secrets.prepare_state(site)
    except PermissionError as error:
        raise OpError("not_set_up", "%s cannot be written" % (error.filename or site.root), hint) from None


def _require_space(site: Site, size: int, files: int) -> None:
    place = os.statvfs(site.root)
    free, inodes = place.f_bavail * place.f_frsize, place.f_favail
    if size + _SPARE > free:
        needs = f"the disk is full: the release needs {_mb(size + _SPARE)} more and {_mb(free)} are free"
        raise _no_space(site, needs, size, free)
    if place.f_files and files + _SPARE_INODES > inodes:
        needs = "%s has too few inodes: %d files are to come and %d inodes are free" % (site.root, files, inodes)
        raise _no_space(site, needs, size, free)


def _no_space(site: Site, message: str, needed: int, free: int) -> OpError:
    hint = f"make room on {site.root}, or lower keep: in deploy.yaml, which the next push then prunes to"
    return OpError("no_space", message, hint, detail={"needed": needed, "free": free})


def _mb(size: int) -> str:
    return "%.0f MB" % (size / 1e6)


@contextlib.contextmanager
def _disk_full(site: Site, incoming: BlobStore) -> Iterator[None]:
    """Turns a full disk into OpError `no_space`, and gives back what was gathered."""
    try:
        yield
    except OSError as error:
        if error.errno not in disk.FULL:
            raise
        message = disk.shortage(site.root, error.errno)
        incoming.drop()
        free = os.statvfs(site.root)
        raise _no_space(site, message, 0, free.f_bavail * free.f_frsize) from None
