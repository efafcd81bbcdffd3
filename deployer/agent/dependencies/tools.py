"""Programs that the controller gives a host: uv, where the host has none.

    {host_state}/uv/0.5.2-0123456789ab/uv     version, and the start of its sha256; readable by all, written by root

A program is at its place only after it ran there. Nothing locks: it comes under a name of its own and is renamed, and
two who bring the same bring the same bytes. (A lock would be held while a slow line is waited for.)
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import tempfile
import time
import zlib
from collections.abc import Iterator

from deployer.agent.dependencies import venv
from deployer.agent.model.layout import Site
from deployer.agent.model.messages import dependencies as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.system import host_facts, process_runner, tree
from deployer.agent.system.files import fsync_folder

_KEPT = 3  # versions of a program that stay: controllers need not all have the same one
_LARGEST = 512 << 20  # bytes of a program
_NAME = re.compile(r"^[a-z][a-z0-9-]{0,30}$")
_VERSION = re.compile(r"^[0-9][0-9A-Za-z.+]{0,40}$")
_SHA = re.compile(r"^[0-9a-f]{64}$")
_BUSY = 126  # what a shell answers for a program that may not be executed


@operation(wire.FIND_TOOL)
def has(ctx: Context, request: wire.FindTool) -> wire.ToolFound:
    """Looks whether a program must be brought to this host.

    Raises:
        OpError: `invalid`.
    """
    site = Site.of(request)
    path = _place(site, request)
    is_present = os.access(path, os.X_OK)
    if is_present:
        os.utime(os.path.dirname(path))  # for `prune`: somebody still wants it
    key = str(request.get("venv") or "")
    return {"path": path if is_present else None, "needed": not (key and venv.complete(site, key))}


@operation(wire.PUT_TOOL)
def put(ctx: Context, request: wire.PutTool) -> wire.ToolPut:
    """Takes a program, tries it, and puts it at `{host_state}/<name>/<version>-<sha12>/<name>`.

    Raises:
        OpError: `does_not_run`, `corrupt`, `no_space`, `not_written`, `invalid`; nothing of it stays then.
    """
    site = Site.of(request)
    path = _place(site, request)
    folder = os.path.dirname(path)
    above = os.path.dirname(folder)
    try:
        os.makedirs(above, 0o755, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix=".new-", dir=above)
        try:
            os.chmod(fresh, tree.FOLDER)
            program = f"{fresh}/{request['name']}"
            _receive(ctx.body, program, str(request["sha"]))
            _try(program)
            os.makedirs(folder, 0o755, exist_ok=True)
            os.rename(program, path)
        finally:
            tree.remove(fresh)
        fsync_folder(folder)
        fsync_folder(above)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        message = f"{path} cannot be written: {error.strerror or error}"
        raise OpError("no_space" if full else "not_written", message) from None
    _prune(above, folder)
    return {"path": path}


def find_uv(site: Site) -> str | None:
    """A uv on this host, its own or one that was given; None if there is none."""
    own = host_facts.found_in(host_facts.search_path(site), "uv")
    managed_paths = sorted(glob.glob(glob.escape(_home(site)) + "/uv/[0-9]*/uv"), key=os.path.getmtime)
    return own or (managed_paths[-1] if managed_paths else None)


def _place(site: Site, tool: wire.FindTool | wire.PutTool) -> str:
    name, version, sha = tool["name"], tool["version"], tool["sha"]
    if not (_NAME.match(name) and _VERSION.match(version) and _SHA.match(sha)):
        raise OpError("invalid", f"{name!r} of version {version!r} cannot be a program's folder")
    return f"{_home(site)}/{name}/{version}-{sha[:12]}/{name}"


def _home(site: Site) -> str:
    """What all apps of the host share, where the agent may write it; else the site's own state."""
    parent = site.host_state if os.path.isdir(site.host_state) else os.path.dirname(site.host_state)
    return site.host_state if os.access(parent, os.W_OK) else site.state


def _receive(body: Iterator[bytes], path: str, sha: str) -> None:
    """Writes the program, whole and flushed. OpError `corrupt` if it is not what its hash says."""
    seen, size = hashlib.sha256(), 0
    with open(path, "xb") as file:
        for chunk in _unpacked(body):
            size += len(chunk)
            if size > _LARGEST:
                raise OpError("corrupt", "the program is larger than %d MB" % (_LARGEST >> 20))
            seen.update(chunk)
            file.write(chunk)
        if seen.hexdigest() != sha:
            raise OpError("corrupt", "the program did not arrive whole", "deploy {command} {env}")
        os.fchmod(file.fileno(), 0o755)
        file.flush()
        os.fsync(file.fileno())


def _unpacked(body: Iterator[bytes]) -> Iterator[bytes]:
    unpack = zlib.decompressobj(wbits=31)  # 16 for a gzip header, 15 for the window
    try:
        for chunk in body:
            yield unpack.decompress(chunk)
        yield unpack.flush()
    except zlib.error as error:
        raise OpError("corrupt", f"the program did not arrive whole: {error}", "deploy {command} {env}") from None


def _try(program: str) -> None:
    """OpError `does_not_run` unless it tells its version."""
    for _ in range(50):
        done = process_runner.run([program, "--version"], timeout=30, env={"LANG": "C.UTF-8", "PATH": os.defpath})
        # Another thread's fork may hold the file open for writing until it executes something: ETXTBSY.
        if done.exit != _BUSY or "busy" not in done.stderr.lower():
            break
        time.sleep(0.05)
    if not done.ok:
        raise OpError("does_not_run", f"it does not run on this host: {done.why}", log=done.log())


def _prune(above: str, latest: str) -> None:
    """Removes all but the versions that were wanted last, and what a crash left a day ago or before."""
    held: list[str] = [path for path in glob.glob(glob.escape(above) + "/[0-9]*") if path != latest]
    for path in sorted(held, key=os.path.getmtime)[: -(_KEPT - 1)]:
        tree.remove(path)
    for path in glob.glob(glob.escape(above) + "/.new-*"):
        if os.path.getmtime(path) < time.time() - 86400:
            tree.remove(path)
