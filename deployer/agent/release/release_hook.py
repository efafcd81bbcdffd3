"""The release hook: once per release, on one host, to its end whoever is lost meanwhile.

The command runs under a runner of its own (`release_hook_runner`), detached from this session, which keeps the site's
lock and writes the outcome into the ledger itself. This operation starts the runner, or joins one that still runs,
hands on what the command prints, and reads the outcome.

In `.deploy/hooks`: `<release>.running`, a file with the runner's pid that it holds locked while it lives; `<run>.json`,
what it is to do; `<run>.log`, what the command printed, secrets taken out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import time

from deployer.agent.channel import bootstrap
from deployer.agent.model.layout import Site
from deployer.agent.model.messages import releases as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, links, secrets
from deployer.agent.system import files

OP = "hook"
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}\Z")
_TICK = 0.05  # seconds between looks at the runner and its log
_STARTUP = 20.0  # seconds a runner may take until it holds its file
_OVERTIME = 60.0  # seconds past its time limit that a runner may take to end what it started
_KEPT_OUTPUT = 64 << 10  # bytes of output in the answer
_LOG_LINES = 30
_KEPT_FILES = 60  # logs of runs long gone are removed beyond these


@operation(wire.HOOK, longest=lambda request: float(request.get("timeout") or 0) + 30.0)
def release(ctx: Context, request: wire.RunReleaseHook) -> wire.HookEnded:
    """Runs the release hook unless it succeeded for this release already.

    Neither a cancelled run nor a lost controller stops it. After `timeout` seconds its whole group is killed.

    Raises:
        OpError: `hook_failed` with its last lines, `unknown_outcome` (an earlier attempt was begun and nobody knows
            how it ended; detail: `run`, `since`, `log`), `incomplete`, `lease_lost`, `invalid`.
    """
    hook = _Hook(Site.of(request), str(request["release"]), str(request["run"]))
    links.require_complete(hook.site, hook.release)
    if hook.succeeded():
        return {"exit": 0, "output": "", "skipped": True}
    if not hook.runs():
        hook.refuse_unknown(bool(request.get("rerun_safe")))
        ctx.require_lease("run the release hook")
        hook.start(request)
    ctx.progress("the release hook runs", step="hook")
    hook.follow(ctx)
    return hook.result()


def lock_fds(site: Site) -> list[int]:
    """Descriptors of this process that hold the site's lock file open, for a child that is to keep the lock."""
    descriptors = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(int(name)), os.stat(site.lock)):
                descriptors.append(int(name))
    return descriptors


def forget(site: Site) -> None:
    """Removes what hooks of runs long gone printed; the newest stay."""
    folder = site.state + "/hooks"
    with contextlib.suppress(FileNotFoundError):
        logs = [folder + "/" + name for name in os.listdir(folder) if name.endswith((".log", ".running"))]
        for path in sorted(logs, key=os.path.getmtime)[:-_KEPT_FILES]:
            os.unlink(path)


class _Hook:
    """The hook of one release, as this run sees it."""

    def __init__(self, site: Site, release: str, run: str) -> None:
        for name in (release, run):
            if not _NAME.match(name):
                raise OpError("invalid", f"{name!r} is neither a release nor a run")
        self.site = site
        self.release = release
        self.run = run
        self.folder = site.state + "/hooks"
        self.held = f"{self.folder}/{release}.running"

    @property
    def log(self) -> str:
        """The log of the run whose attempt counts: the last that was begun."""
        begun = self._last("intent")
        return f"{self.folder}/{begun['run'] if begun else self.run}.log"

    def succeeded(self) -> bool:
        """Whether some run's hook for this release ended well."""
        return any(entry.get("ok") for entry in self._entries() if entry.get("event") == "outcome")

    def runs(self) -> bool:
        """Whether a runner for this release is alive: it holds its file locked."""
        try:
            fd = os.open(self.held, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(fd)

    def refuse_unknown(self, rerun_safe: bool) -> None:
        """OpError `unknown_outcome` when an attempt was begun and has no outcome, unless it may be repeated."""
        begun, ended = self._last("intent"), self._last("outcome")
        if begun is None or rerun_safe or (ended is not None and ended["run"] == begun["run"]):
            return
        raise OpError(
            "unknown_outcome",
            f"the release hook of {self.release} was begun by run {begun['run']} and how it ended is not known",
            f"see {self.log} and the database; then push with --skip-hook release, or declare the hook rerun: safe",
            log=_last_lines(self.log),
            detail={"run": begun["run"], "since": begun["ts"], "log": self.log},
        )

    def start(self, args: wire.RunReleaseHook) -> None:
        """Writes the intent down and starts the runner; returns when it has begun."""
        secrets.prepare_state(self.site)
        os.makedirs(self.folder, 0o700, exist_ok=True)
        spec = {
            "site": vars(self.site),
            "run": self.run,
            "release": self.release,
            "command": str(args["command"]),
            "env": dict(args.get("env", {})),
            "timeout": float(args.get("timeout") or 600.0),
        }
        path = f"{self.folder}/{self.run}.json"
        files.write(path, json.dumps(spec).encode("utf-8"), 0o600)
        program = bootstrap.archive(self.folder + "/agent.pyz")
        ledger.append(self.site, {"run": self.run, "event": "intent", "op": OP, "release": self.release})
        command = [*program, "release.release_hook_runner", path]
        if not self._started(self._scope() + command) and not self._started(command):
            raise OpError(
                "hook_failed", "the release hook's runner did not start", log=_last_lines(self._runner_log_path())
            )

    def follow(self, ctx: Context) -> None:
        """Hands on what the command prints until its runner has ended.

        OpError `unknown_outcome` when the runner outlives the time limit that it has to keep itself.
        """
        rest = b""
        end = time.monotonic() + self._limit() + _OVERTIME
        with open(self.log, "ab+") as file:
            file.seek(0)
            alive = True
            while alive:
                if time.monotonic() > end:
                    raise OpError(
                        "unknown_outcome",
                        f"the runner of the release hook of {self.release} still runs after its time limit",
                        f"see on that host which process has {self.held} open, and {self.log}",
                        log=_last_lines(self.log),
                    )
                alive = self.runs()
                data = file.read()
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    ctx.output(line.decode("utf-8", "replace"))
                if alive and not data:
                    time.sleep(_TICK)
        if rest:
            ctx.output(rest.decode("utf-8", "replace"))

    def _limit(self) -> float:
        """Seconds that the attempt which runs may take, as it was started with."""
        begun = self._last("intent")
        try:
            with open(f"{self.folder}/{begun['run'] if begun else self.run}.json", encoding="utf-8") as file:
                return float(json.load(file)["timeout"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0  # it has ended, or never began

    def result(self) -> wire.HookEnded:
        """The answer, from the ledger. OpError `hook_failed`, or `unknown_outcome` when the runner died."""
        self.refuse_unknown(rerun_safe=False)
        ended = self._last("outcome") or {}
        if not ended.get("ok"):
            hint = "mend it, then type deploy {command} {env}; nothing that serves was touched"
            if ended.get("timeout"):
                raised = f"raise hooks.release.timeout ({ended['timeout']:g} s)"
                hint = raised + ", or mend the hook; then type deploy {command} {env}"
            raise OpError(
                "hook_failed",
                f"the release hook failed: {ended.get('why')}",
                hint,
                log=_last_lines(self.log),
                detail={"exit": ended.get("exit"), "log": self.log},
            )
        with open(self.log, "rb") as file:
            file.seek(max(0, os.path.getsize(self.log) - _KEPT_OUTPUT))
            output = file.read().decode("utf-8", "replace")
        return {"exit": 0, "output": output, "skipped": False}

    def _entries(self) -> list[ledger.Entry]:
        return [e for e in ledger.read(self.site) if e.get("op") == OP and e.get("release") == self.release]

    def _last(self, event: str) -> ledger.Entry | None:
        matching_entries = [entry for entry in self._entries() if entry.get("event") == event]
        return matching_entries[-1] if matching_entries else None

    def _runner_log_path(self) -> str:
        return f"{self.folder}/{self.run}.runner.log"

    def _scope(self) -> list[str]:
        """What puts the runner into a scope of its own, so that the end of this login session does not kill it.

        A scope and not a service: its process is our child and keeps the descriptor that holds the lock.
        """
        systemd_run = shutil.which("systemd-run")
        if os.geteuid() != 0 or systemd_run is None or not os.path.isdir("/run/systemd/system"):
            return []
        unit = f"deploy-hook-{self.site.app}-{re.sub('[^0-9A-Za-z_.-]', '-', self.run)}"
        return [systemd_run, "--scope", "--quiet", "--collect", "--unit=" + unit, "--"]

    def _started(self, command: list[str]) -> bool:
        """Starts the runner in a session of its own; whether it came to hold its file."""
        with open(self._runner_log_path(), "ab") as runner_log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=runner_log,
                stderr=runner_log,
                cwd="/",
                start_new_session=True,
                pass_fds=lock_fds(self.site),
            )
        deadline = time.monotonic() + _STARTUP
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            if self._has_begun(process.pid):
                return True
            if ended:
                return False
            time.sleep(_TICK)
        process.kill()
        process.wait()
        return self._has_begun(process.pid)

    def _has_begun(self, pid: int) -> bool:
        try:
            with open(self.held, encoding="ascii") as file:
                return file.read() == "%d\n" % pid
        except OSError:
            return False


def _last_lines(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - _KEPT_OUTPUT))
            return file.read().decode("utf-8", "replace").rstrip().splitlines()[-_LOG_LINES:]
    except OSError:
        return []
