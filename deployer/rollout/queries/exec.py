"""`deploy exec`, `run`, `shell`: a command of a person's, on hosts, in the release, or with a terminal.

None of them takes the lock: a shell that is open for an hour must not stop pushes.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TextIO

from deployer.agent.model.layout import WITHIN
from deployer.agent.model.messages.event import Event
from deployer.agent.model.messages.host import RUN, RunCommand
from deployer.agent.model.shell import shell_argv
from deployer.errors import CommandError, DeployError, InterruptedRun, NotReadyError, UsageError
from deployer.events import Bus, Output, RunStarted, Warned
from deployer.inventory import patterns
from deployer.inventory.model import Host
from deployer.plan.topology import WebHost
from deployer.remote.fleet import Fleet, together
from deployer.remote.ssh.connection import Connection
from deployer.remote.ssh.dialer import Dialer
from deployer.remote.ssh.terminal import interact, pipe
from deployer.rollout.run.connect import kill_with
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.rollout.run.record import Record
from deployer.stopping import CLOSED_OUTPUT, requester

_LONGEST_S = 3600.0
# Whoever logs in becomes the app's user: root without a question, others by sudo, which may ask for a password.
_AS_USER = """\
[ "$(id -un)" = "$0" ] && exec "$@"
[ "$(id -u)" = 0 ] && exec env -i TERM="${TERM:-dumb}" LANG=C.UTF-8 PATH="$PATH" SHELL=/bin/sh \\
    HOME="$(getent passwd "$0" | cut -d: -f6)" USER="$0" LOGNAME="$0" runuser -u "$0" -- "$@"
exec sudo -H -u "$0" -- "$@"
"""


def execute(
    project: Project,
    invocation: Invocation,
    *,
    words: Sequence[str],
    limit: str | None,
    stdin: bool,
    timeout: float | None,
) -> None:
    """Runs a command on hosts, all at once: those of `limit`, else all that have instances.

    It runs as the SSH user, or as root where the inventory says `ansible_become: true`. Hosts that cannot be reached
    are the error at the end.

    Args:
        words: the command: one word is text for `sh` (`shell_argv`), several are the program and its arguments.
        stdin: this process's standard input goes to every host's command.
        timeout: seconds until it is killed; an hour by default.

    Raises:
        CommandError, with the status of the first host on which it was not 0. UnreachableError. AgentError `timeout`.
    """
    hosts = (
        patterns.select(project.inventory, limit) if limit is not None else [web.host for web in project.topology.web]
    )
    become = None if project.sudo_password else False
    targets = [replace(host, become=become if host.become is None else host.become) for host in hosts]
    request = RunCommand(command=_command(words))
    _on_hosts(project, invocation, "exec", targets, lambda host: request, stdin, timeout)


def run(
    project: Project,
    invocation: Invocation,
    *,
    words: Sequence[str],
    everywhere: bool,
    stdin: bool,
    raw: bool = False,
    json_lines: bool = False,
    timeout: float | None,
) -> None:
    """Runs a command in the current release: its folder, virtualenv, environment, secrets and user.

    On the first host with instances, or with `everywhere` on all of them. With a terminal here (both ways), and on
    one host, the command has it, unless standard output is for `json_lines`. With `raw` its standard output and errors
    are this process's own, byte for byte. Else as `execute`, which tells the other arguments.

    Raises as `execute`; NotReadyError where nothing was pushed: the command was begun nowhere then.
    """
    chosen = project.topology.web if everywhere else project.topology.web[:1]
    webs = {web.name: web for web in chosen}
    if raw and everywhere:
        raise UsageError("--raw is the output of one host, and --all means all", hint="leave one of them out")
    if raw:
        _raw(project, invocation, chosen[0], words, stdin, timeout or _LONGEST_S)
        return
    if len(chosen) == 1 and not stdin and not json_lines and sys.stdin.isatty() and sys.stdout.isatty():
        with Fleet.open([chosen[0].host], sudo_password=project.sudo_password, identity=project.who) as fleet:
            _require_release(project, fleet, webs)
        invocation.bus.flush()
        _with_terminal(project, invocation.record, chosen[0].host, _as_user(chosen[0], _within(chosen[0], words)))
        return

    def args(host: Host) -> RunCommand:
        web = webs[host.name]
        return RunCommand(command=_within(web, words), user=web.site.user)

    def first(fleet: Fleet) -> None:
        _require_release(project, fleet, webs)

    _on_hosts(project, invocation, "run", [web.host for web in chosen], args, stdin, timeout, first)


def shell(project: Project, record: Record, *, host: str | None, json_lines: bool = False) -> None:
    """A login shell on a host, with this terminal: the first host with instances, or the one that is named.

    Raises UsageError where there is no terminal, or it is for `json_lines`; UnreachableError, UntrustedHostError;
    InventoryError or UsageError for what is no host; CommandError with the shell's status.
    """
    if json_lines or not (sys.stdin.isatty() and sys.stdout.isatty()):
        example = host or project.topology.web[0].name
        raise UsageError(
            "a shell needs a terminal for its input and output, without --output json",
            hint=f"deploy exec {project.env} -l {example} -- COMMAND runs one command without a terminal",
        )
    if host is None:
        chosen = project.topology.web[0].host
    else:
        chosen = patterns.select(project.inventory, host)[0]
        if chosen.name != host:
            raise UsageError(f"a shell is on one host, and {host!r} means more", hint=f"such as {chosen.name}")
    _with_terminal(project, record, chosen, "")


def _on_hosts(
    project: Project,
    invocation: Invocation,
    name: str,
    hosts: Sequence[Host],
    command: Callable[[Host], RunCommand],
    stdin: bool,
    timeout: float | None,
    before: Callable[[Fleet], None] = lambda fleet: None,
) -> None:
    """The command on every host, its lines as events; raises what went wrong when all have ended.

    `before` raises where it is not to be begun on any.
    """
    invocation.bus.emit(RunStarted(name, project.topology.settings.app, project.env, project.who))
    input_bytes = sys.stdin.buffer.read() if stdin else None
    with Fleet.open(hosts, sudo_password=project.sudo_password, identity=project.who, partial=True) as fleet:
        kill_with(invocation.stop, fleet)
        before(fleet)
        if not stdin:
            _warn_of_unread_input(invocation.bus)

        def report_output(host: Host, event: Event) -> None:
            if event.get("event") == "output":
                invocation.bus.emit(Output(str(event.get("line", "")), host=host.name, step=name))

        def request(host: Host) -> RunCommand:
            streamed: RunCommand = {**command(host), "stream": True}
            if timeout:
                streamed["timeout"] = timeout
            return streamed

        answers = fleet.run_on_hosts(list(fleet), RUN.name, request, body=input_bytes, on_event=report_output)
        failures: dict[str, DeployError] = dict(fleet.failures)
        statuses = {}
        for host, answer in answers.items():
            if isinstance(answer.error, DeployError):
                failures[host] = answer.error
            else:
                statuses[host] = int(answer.unwrap()["exit"])
            invocation.record.host(host, "succeeded" if statuses.get(host) == 0 else "failed")
    for host in fleet.failures:
        invocation.record.host(host, "unreachable")
    if invocation.stop.is_set():
        raise InterruptedRun(f"stopped by {requester(invocation.stop)}: the commands were killed", step=name)
    if failures:
        raise together(failures)
    _require_success(name, statuses)


def _raw(
    project: Project,
    invocation: Invocation,
    web: WebHost,
    words: Sequence[str],
    stdin: bool,
    timeout: float,
) -> None:
    """The command on that host with this process's streams. It ends after `timeout` seconds, with status 124."""
    invocation.bus.emit(RunStarted("run", project.topology.settings.app, project.env, project.who))
    with Fleet.open([web.host], sudo_password=project.sudo_password, identity=project.who) as fleet:
        _require_release(project, fleet, {web.name: web})
    if not stdin:
        _warn_of_unread_input(invocation.bus)
    dialer = Dialer(user=project.user)
    connection = dialer.connect(web.host)
    _close_with(invocation.stop, connection)
    try:
        bounded = ["timeout", f"{timeout:g}", *_within(web, words)]
        status = pipe(connection, _as_user(web, bounded), stdin=stdin)
    except BrokenPipeError:
        raise InterruptedRun(f"stopped by {CLOSED_OUTPUT}: the command has lost its streams", step="run") from None
    finally:
        connection.close()
        dialer.close()
    if invocation.stop.is_set():
        raise InterruptedRun(f"stopped by {requester(invocation.stop)}: the command has lost its streams", step="run")
    invocation.record.host(web.name, "succeeded" if status == 0 else "failed")
    if status:
        _require_success("run", {web.name: status})


def _close_with(stop: threading.Event, connection: Connection) -> None:
    """Ctrl-C here takes the command's streams away."""

    def watch() -> None:
        stop.wait()
        connection.close()

    threading.Thread(target=watch, name="stop", daemon=True).start()


def _warn_of_unread_input(bus: Bus) -> None:
    """Says so where something was piped in that nobody is going to read."""
    if _waiting_bytes(sys.stdin):
        bus.emit(Warned("standard input is not passed on to the command", hint="add --stdin, before the --"))


def _waiting_bytes(stream: TextIO) -> int:
    """Bytes that a pipe or a file still has for its reader; 0 for a terminal, or where nobody can tell."""
    try:
        kind = os.fstat(stream.fileno())
        if stat.S_ISREG(kind.st_mode):
            return kind.st_size
        if not (stat.S_ISFIFO(kind.st_mode) or stat.S_ISSOCK(kind.st_mode)):
            return 0
        count = bytearray(4)
        fcntl.ioctl(stream.fileno(), termios.FIONREAD, count)
    except (OSError, ValueError):
        return 0
    return int.from_bytes(count, sys.byteorder)


def _require_release(project: Project, fleet: Fleet, webs: Mapping[str, WebHost]) -> None:
    """NotReadyError for the first host without a release to run commands in. It is asked apart from the command, whose
    exit status is its own.
    """

    def release_test(host: Host) -> RunCommand:
        web = webs[host.name]
        return RunCommand(command=["test", "-e", f"{web.site.current}/{WITHIN}"], user=web.site.user)

    for host, answer in fleet.run_on_hosts(list(fleet), RUN.name, release_test).items():
        if answer.error is None and answer.unwrap()["exit"] != 0:
            raise NotReadyError(
                f"no release to run commands in is on {host}",
                host=host,
                step="run",
                hint=f"deploy push {project.env}",
                code="no_release",
            )


def _require_success(name: str, statuses: Mapping[str, int]) -> None:
    failed = {host: status for host, status in statuses.items() if status != 0}
    if not failed:
        return
    by_status: dict[int, list[str]] = {}
    for host, status in failed.items():
        by_status.setdefault(status, []).append(host)
    summary = ", ".join(f"{status} on {', '.join(hosts)}" for status, hosts in by_status.items())
    raise CommandError(f"the command ended with status {summary}", status=next(iter(failed.values())), step=name)


def _with_terminal(project: Project, record: Record, host: Host, command: str) -> None:
    dialer = Dialer(user=project.user)
    connection = dialer.connect(host)
    try:
        status = interact(connection, command)
    finally:
        connection.close()
        dialer.close()
    record.host(host.name, "succeeded" if status == 0 else "failed")
    if status:
        _require_success("run" if command else "shell", {host.name: status})


def _command(words: Sequence[str]) -> list[str] | str:
    return words[0] if len(words) == 1 else list(words)


def _within(web: WebHost, words: Sequence[str]) -> list[str]:
    """The words of a command in the current release."""
    inner = shell_argv(words[0]) if len(words) == 1 else list(words)
    return ["/bin/sh", f"{web.site.current}/{WITHIN}", *inner]


def _as_user(web: WebHost, words: Sequence[str]) -> str:
    if not web.site.user or web.site.prefix:
        return "exec " + shlex.join(words)
    return "exec " + shlex.join(["/bin/sh", "-c", _AS_USER, web.site.user, *words])
