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
from typing import Any

from deployer.agent.dependencies import tools, uv_cache, venv
from deployer.agent.model import release_id
from deployer.agent.model.layout import Site
from deployer.agent.model.manifest import Manifest
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


def _longest_build(args: dict[str, Any]) -> float:
    """Seconds for the virtualenv, the prepare hook, the check of the app, and the compilation."""
    parts = [args.get("venv") or {}, args.get("prepare") or {}, args.get("check") or {}]
    return 600.0 + sum(float(part.get("timeout") or 0) for part in parts)


@operation("release.begin")
def begin(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Takes `release`, `venv` (its key, optional: no wheels are asked for when it is built), a manifest as the body.

    Returns `complete`, `missing` (hashes), `missing_bytes`, `reused` (files taken from earlier releases).
    Raises OpError `not_set_up`, `no_space` (detail: `needed`, `free`, bytes), `invalid`.
    """
    site, release = _which(args)
    _require_set_up(site)
    manifest = _manifest(ctx.read_body())
    if complete(site, release):
        return {"complete": True, "missing": [], "missing_bytes": 0, "reused": 0}
    _clear(site, release)
    incoming = BlobStore(site, release)
    with _disk_full(site, incoming):
        incoming.reset(manifest)
        reused = incoming.reuse(manifest, list(reversed(_complete(site))))
        key = str(args.get("venv") or "")
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


@operation("release.fill")
def fill(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Takes the blobs that `begin` found missing, as one gzip'd tar in the body; `venv` as there.

    Returns `files` and `bytes`. Raises OpError `corrupt` (nothing of it is kept), `no_space`, `not_begun`.
    """
    site, release = _which(args)
    incoming = BlobStore(site, release)
    manifest = incoming.manifest()
    key = str(args.get("venv") or "")
    missing_sizes = incoming.missing(manifest, with_wheels=not (key and venv.complete(site, key)))
    if not missing_sizes:
        for _ in ctx.body:
            pass
        return {"files": 0, "bytes": 0}
    with _disk_full(site, incoming):
        files, size = incoming.unpack(ctx.body, missing_sizes)
    ctx.progress("%d files, %d bytes arrived" % (files, size), files=files, bytes=size)
    return {"files": files, "bytes": size}


@operation("release.build", longest=_longest_build)
def build(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Makes a complete release of what was gathered.

    Takes `run` (text), `files` (path → text), `meta` (goes into the marker), `venv` (see
    `deployer.agent.dependencies.venv`), `env`, `shared` (paths), `prepare` ({command, timeout} or null), `check`
    ({argv, timeout} or null), `static` ({url, dir} or null), `pythonpath` is for the caller to put in `env`.

    Returns `built` (false: it was complete), `venv_built`, `seconds`. Raises OpError `install_failed`,
    `missing_server`, `prepare_failed`, `check_failed`, `no_static`, `no_space`, `not_begun`. A failed release is gone;
    a complete virtualenv stays.
    """
    began = time.monotonic()
    site, release = _which(args)
    if complete(site, release):
        return {"built": False, "venv_built": False, "seconds": 0.0}
    incoming = BlobStore(site, release)
    static = StaticFiles(site, release, args["static"], _complete(site)) if args.get("static") else None
    building = Building(ctx, site, release, args, incoming)
    with _disk_full(site, incoming):
        try:
            building.assemble()
            venv_built = venv.ensure(ctx, site, args["venv"], incoming.place_wheels(building.manifest), building.venv)
            building.finish(static)
        except BaseException:
            tree.remove(site.release(release))
            raise
        finally:
            incoming.drop()
    return {"built": True, "venv_built": venv_built, "seconds": round(time.monotonic() - began, 3)}


@operation("release.prune")
def prune(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Removes releases beyond the newest `keep` proven ones, and virtualenvs that none of the rest links to.

    What `current`, a slot or a live process uses, `protect` names or was proven last is never touched. With `dry_run`
    nothing is removed. With `weigh` the answer says what that gives back.
    Returns `removed` (ids), `venvs` (keys), `failed` (path → why it could not be removed), and with `weigh` `bytes` and
    `inodes`.
    """
    site = Site.from_args(args)
    retiring = Pruner(site, complete)
    keep, protect = int(args["keep"]), {str(name) for name in args.get("protect", ())}
    weight: dict[str, Any] = {}
    if args.get("weigh"):
        removed, keys = retiring.removable(keep, protect)
        size, inodes = weigh([*map(site.release, removed), *map(site.venv, keys)])
        weight = {"bytes": size, "inodes": inodes}
        if args.get("dry_run"):
            return {"removed": removed, "venvs": keys, "failed": {}, **weight}
    removed = retiring.releases(keep, protect)
    keys = retiring.venvs()
    release_hook.forget(site)
    uv = tools.find_uv(site) if keys else None  # a virtualenv that went is when a cache comes to outweigh them
    if uv:
        uv_cache.bound(site, uv)
    if removed or keys:
        ctx.progress("removed %d old releases" % len(removed), releases=removed, venvs=keys)
    if weight and retiring.failed:
        size, inodes = weigh(retiring.failed)
        weight = {"bytes": max(0, weight["bytes"] - size), "inodes": max(0, weight["inodes"] - inodes)}
    return {"removed": removed, "venvs": keys, "failed": retiring.failed, **weight}


@operation("release.discard")
def discard(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Removes one release that nothing uses. Returns `removed`; OpError `in_use` says by what it is used."""
    site, release = _which(args)
    BlobStore(site, release).drop()
    used = Pruner(site, complete).used().get(release)
    if used:
        raise OpError("in_use", f"release {release} is used by {used}, so it was not removed")
    return {"removed": tree.remove(site.release(release))}


@operation("release.marker")
def marker(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What a complete release says of itself: `marker`, all that `release.build` was given as `meta`; else None."""
    site, release = _which(args)
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


def _which(args: dict[str, Any]) -> tuple[Site, str]:
    release = str(args["release"])
    if not _ID.match(release):
        raise OpError("invalid", f"{release!r} is no release id")
    return Site.from_args(args), release


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
