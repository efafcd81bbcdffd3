"""The making of one release folder, from gathered content to the marker that says it is complete.

It is made at its final path, so that what hooks write into it (links, caches, manifests with paths) stays true. It does
not count until its marker is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import stat
import time
from typing import TYPE_CHECKING

from deployer.agent.dependencies import venv, venv_integrity
from deployer.agent.model import failure
from deployer.agent.model.layout import Site
from deployer.agent.model.manifest import (
    NAME,
    RUN,
    VENV,
    Entry,
    Manifest,
    below,
    escapes,
    obstructed,
    problem,
    reserved,
)
from deployer.agent.model.shell import shell_argv
from deployer.agent.operation import Context, OpError
from deployer.agent.release.static_files import StaticFiles
from deployer.agent.release.upload import BlobStore
from deployer.agent.site import app_environment, secrets, shared_folders
from deployer.agent.system import files, process_runner, tree
from deployer.agent.system.files import fsync_folder

if TYPE_CHECKING:
    from deployer.agent.model.messages import releases as wire

_LOG_LINES = 30
_SEARCHED_LINES = 300  # of what a hook printed, for the exception that ended it
_LONGEST_CAUSE = 300  # characters of the check's last line that go into the message
_STEP_TIMEOUT = 600.0  # seconds, where the caller says nothing


class Building:
    """One release while it is made.

    Args:
        args: the arguments of `release.build`.
        incoming: the content that was gathered for it. OpError `not_begun` if there is none.
    """

    def __init__(self, ctx: Context, site: Site, release: str, args: wire.BuildRelease, incoming: BlobStore) -> None:
        self.ctx = ctx
        self.site = site
        self.release = release
        self.path = site.release(release)
        self.args = args
        self.incoming = incoming
        self.manifest = incoming.manifest()
        self.shared = tuple(_shared(path) for path in args.get("shared", ()))
        self.redact = secrets.redactor(site)
        self.venv = ""  # the name of its virtualenv's folder
        self.links: dict[str, str] = {}  # path in the release → target, of the links that deploy makes

    def assemble(self) -> None:
        """Files, links, `run`, rendered files, `.venv`: everything but what is executed. OSError if it cannot."""
        tree.remove(self.path)
        os.makedirs(self.path, 0o755)
        shipped = {path: entry for path, entry in self.manifest.files.items() if not below(path, self.shared)}
        obstacle = obstructed(self.shared, shipped)
        if obstacle:
            raise OpError("invalid", "shared path {!r} lies below the file {!r} of the source".format(*obstacle))
        # A hook may write into any file; one that is linked would change the earlier release with it.
        writable = bool(self.args.get("prepare"))
        made_folders = {""}
        for path, entry in sorted(shipped.items()):
            self._folder(posixpath.dirname(path), made_folders)
            self._put(path, entry, writable)
        shipped.update(self._rendered(made_folders))
        self.venv = venv_integrity.folder_for(self.site, venv.checked(str(self.args["venv"]["key"])))
        self._link(VENV, "../../venvs/" + self.venv)
        self._link_shared(made_folders)
        self._write(NAME, Manifest(shipped).as_bytes(), 0o644)
        self.ctx.progress("%d files are in place" % len(shipped), step="assemble", files=len(shipped))

    def finish(self, static: StaticFiles | None) -> None:
        """Prepare hook, static files, bytecode, check, seal, marker.

        OpError `prepare_failed`, `check_failed` with the last lines; `no_static`.
        """
        prepare, check = self.args.get("prepare"), self.args.get("check")
        if prepare:
            self._prepare(prepare)
        if static:
            kept = static.gather()
            self.ctx.progress("%d static files of earlier releases stay" % kept, step="static", files=kept)
        self._compile()
        if check:
            self._check(check)
        tree.seal(self.path)
        if static:
            static.offer()
        tree.flush(self.path)
        self._mark()

    def _prepare(self, hook: wire.PrepareHook) -> None:
        self.ctx.progress("preparing", step="prepare")
        tree.give(self.path, *app_environment.owner(self.site))
        try:
            self._command(shell_argv(hook["command"]), hook, "prepare_failed", "the prepare hook", step="prepare hook")
        finally:
            if os.path.isdir(self.path):
                tree.take_back(self.path)
        self._require_own_paths()
        self._record_changes()

    def _require_own_paths(self) -> None:
        """OpError `prepare_failed` when the hook removed or replaced what deploy put into the release.

        What the hook puts in place of the virtualenv must not run as the agent's user, which may be root.
        """
        written = [RUN, *map(str, self.args.get("files", {}))]
        changed = [path for path in written if _mode(self.path + "/" + path) != stat.S_IFREG]
        changed += [path for path, target in self.links.items() if _link_target(self.path + "/" + path) != target]
        if changed:
            message = f"the prepare hook removed or replaced {', '.join(sorted(changed))} in the new release"
            hint = "let hooks.prepare leave that alone, then type deploy {command} {env}"
            if VENV in changed:
                hint = "the dependencies are installed into .venv already: " + hint
            raise OpError("prepare_failed", message, hint)

    def _check(self, check: wire.AppCheck) -> None:
        self.ctx.progress("checking that the app can be loaded", step="check")
        loads = f"it loads {check['target']} on Python" if check.get("target") else "on Python"
        what = f"the app's check ({loads} {self._python()})"
        self._command(check["argv"], check, "check_failed", what)

    def _python(self) -> str:
        """The version in the virtualenv's own description, which pip's and uv's both have."""
        with open(self.path + "/" + VENV + "/pyvenv.cfg", encoding="utf-8") as file:
            match = re.search(r"^version(?:_info)? *= *(\S+)", file.read(), re.MULTILINE)
        return match.group(1) if match else "?"

    def _command(
        self, argv: list[str], spec: wire.PrepareHook | wire.AppCheck, code: str, what: str, step: str = ""
    ) -> None:
        lines: list[str] = []

        def heard(line: str) -> None:
            lines.append(self.redact(line))
            del lines[:-_SEARCHED_LINES]
            self.ctx.output(lines[-1], step)

        env = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **self.args.get("env", {})}
        done = process_runner.run(
            app_environment.with_secrets(self.site, argv),
            timeout=float(spec.get("timeout") or _STEP_TIMEOUT),
            cwd=self.path,
            env=app_environment.environment(self.site, self.release, env),
            user=self.site.user,
            on_line=heard,
            merge_stderr=True,
            cancelled=self.ctx.cancelled,
        )
        if not done.ok:
            last_line = next((line.strip() for line in reversed(lines) if line.strip()), "")
            why = failure.cause_of(lines, done.why)
            if code == "check_failed" and done.exit == 1 and last_line:
                why = last_line[:_LONGEST_CAUSE]
            message = f"{what} failed in the new release: {why}"
            hint = done.hint or "mend it, then type deploy {command} {env}; nothing that serves was touched"
            if code == "prepare_failed" and done.timed_out:
                raised = f"raise hooks.prepare.timeout ({done.timeout:g} s)"
                hint = raised + ", or mend the hook; then type deploy {command} {env}"
            if code == "check_failed" and done.timed_out:
                hint = "raise health.within, which this check may take too, or do less while the app is imported"
            raise OpError(code, message, hint, log=lines[-_LOG_LINES:])

    def _compile(self) -> None:
        """Compiles the release's own bytecode; what is no valid Python is left to whoever imports it.

        The agent's user runs this, which may be root. So the interpreter itself does, and it loads nothing but its own
        library: no module of the release, no package or `.pth` file of the virtualenv or of the app's home.
        """
        self.ctx.progress("compiling bytecode", step="compile")
        python = os.path.realpath(self.site.venv(self.venv) + "/bin/python")
        folders = "|".join((r"/\.venv/", r"/node_modules/"))
        argv = [python, "-I", "-S", "-m", "compileall", "-q", "-x", folders, self.path]
        done = process_runner.run(
            ["/bin/sh", "-c", 'umask 022; exec "$@"', "sh", *argv],
            timeout=600,
            cwd="/",
            env={"LANG": "C.UTF-8", "PATH": os.defpath, "HOME": "/"},
        )
        if "No space left on device" in done.stdout + done.stderr:
            raise OSError(28, "No space left on device", self.path)

    def _put(self, path: str, entry: Entry, writable: bool) -> None:
        target = self.path + "/" + path
        if entry.target is not None:
            os.symlink(entry.target, target)
            return
        self.incoming.place(entry, target, own_copy=writable, created=self._created())

    def _rendered(self, made_folders: set[str]) -> dict[str, Entry]:
        """Writes `run` and the runtime's files; their entries."""
        texts = {str(path): str(text) for path, text in self.args.get("files", {}).items()}
        for path in texts:
            why = problem(path)
            if why:
                raise OpError("invalid", f"{path!r} cannot be written into a release: {why}")
        texts[RUN] = str(self.args["run"])
        entries = {}
        for path, text in texts.items():
            self._folder(posixpath.dirname(path), made_folders)
            mode = 0o755 if path == RUN else 0o644
            entries[path] = self._write(path, text.encode("utf-8"), mode)
        return entries

    def _write(self, path: str, data: bytes, mode: int) -> Entry:
        target = self.path + "/" + path
        tree.remove(target)  # a link to an earlier release's file must not be written through
        with open(target, "xb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        return Entry(mode, len(data), hashlib.sha256(data).hexdigest())

    def _folder(self, path: str, made_folders: set[str]) -> None:
        if path in made_folders:
            return
        self._folder(posixpath.dirname(path), made_folders)
        os.mkdir(self.path + "/" + path)
        os.chmod(self.path + "/" + path, tree.FOLDER)
        made_folders.add(path)

    def _link_shared(self, made_folders: set[str]) -> None:
        """Puts a link in place of every shared path. What is new in `shared/` gets the content of the tree, once."""
        for requested_path, path in zip(self.args.get("shared", ()), self.shared):
            kept = self.site.shared + "/" + path
            is_file = os.path.isfile(kept) and not str(requested_path).endswith("/")
            named = str(requested_path).endswith("/") or path in self.args.get("shared_folders", ())
            self._make_shared(path, is_folder=os.path.isdir(kept) or (named and not is_file))
            self._folder(posixpath.dirname(path), made_folders)
            up = "../" * (2 + path.count("/"))
            self._link(path, up + os.path.relpath(kept, self.site.root))

    def _link(self, path: str, target: str) -> None:
        os.symlink(target, self.path + "/" + path)
        self.links[path] = target

    def _make_shared(self, path: str, *, is_folder: bool) -> None:
        """Makes the folders of a shared path, and seeds it where it is missing or an empty folder."""
        owner = app_environment.owner(self.site)
        is_new = shared_folders.is_empty(self.site.shared, path)
        folders = path if is_folder else posixpath.dirname(path)
        for line in shared_folders.make_folders(self.site.shared, folders, owner):
            self.ctx.output(line)
        seeds = {name: entry for name, entry in self.manifest.files.items() if below(name, (path,))} if is_new else {}
        for name, entry in sorted(seeds.items()):
            if entry.target is None:
                source = self.incoming.path + "/seed"
                self.incoming.place(entry, source, own_copy=True, created=self._created())
                shared_folders.copy_file(self.site.shared, name, source, entry.mode, owner)
                tree.remove(source)
        if seeds:
            self.ctx.output("%s: %d files of the source are its first content" % (path, len(seeds)))

    def _record_changes(self) -> None:
        """Brings the manifest up to what the prepare hook made of the release."""
        files: dict[str, Entry] = {}
        for folder, folders, names in os.walk(self.path):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in names + folders:
                path = os.path.relpath(folder + "/" + name, self.path)
                entry = _entry(self.path, path)
                if entry is not None and path not in (NAME, VENV) and path not in self.shared:
                    files[path] = entry
        self._write(NAME, Manifest(files).as_bytes(), 0o644)

    def _mark(self) -> None:
        text = {
            **self.args.get("meta", {}),
            "id": self.release,
            "created": self._created(),
            "venv": self.args["venv"]["key"],
            "install": {name: self.args["venv"].get(name) for name in ("python", "installer", "requires")},
            "wheels": bool(self.manifest.wheels),
            "run_sha": hashlib.sha256(str(self.args["run"]).encode("utf-8")).hexdigest(),
        }
        os.chmod(self.path, tree.FOLDER)
        files.write(self.site.marker(self.release), json.dumps(text, sort_keys=True).encode("utf-8"), 0o444)
        os.chmod(self.path, tree.READ_ONLY)
        fsync_folder(self.site.releases)

    def _created(self) -> float:
        created: float | None = self.args.get("meta", {}).get("created")
        return float(created) if created else time.time()


def _mode(path: str) -> int:
    """The type of what lies at `path` (`stat.S_IFREG` and the like); 0 where nothing does."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        return 0


def _link_target(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _entry(root: str, path: str) -> Entry | None:
    full = root + "/" + path
    if os.path.islink(full):
        target = os.readlink(full)
        return None if escapes(path, target) else Entry(0, 0, "", target)
    if not os.path.isfile(full):
        return None
    status = os.lstat(full)
    return Entry(0o755 if status.st_mode & 0o100 else 0o644, status.st_size, tree.digest(full))


def _shared(path: str) -> str:
    name = str(path).rstrip("/")
    why = problem(name) or reserved(name)
    if why:
        raise OpError("invalid", f"shared path {path!r}: {why}")
    return name
