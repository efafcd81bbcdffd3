"""Every error a user can cause: what failed, where, why, and what to type next.

    DeployError                  1   a fault of the program itself when raised bare
    ├── UsageError               2   bad command line, settings or inventory
    │   ├── SettingsError        2
    │   └── InventoryError       2
    ├── UnreachableError         3   a host that cannot be reached …
    │   ├── UntrustedHostError   3   … or whose key is not the known one …
    │   └── NotReadyError        3   … or that cannot be used yet; nothing was changed
    ├── LockedError              4   another run holds the lock
    ├── FrozenError              4   a person stopped all pushes
    ├── RolloutError             5   the rollout failed and everything was restored
    ├── NeedsPersonError         6   only a person can decide
    ├── ChecksError              7   checks failed, nothing was changed by this run
    ├── LeftBehindError          8   finished within its budget, some instances were left behind
    ├── CommandError            its  the command of `exec`, `run` or `shell` ended with another status than 0
    ├── ProgramFault             1   a fault of the program itself, met in a run that still has to wind up
    └── InterruptedRun         130   interrupted, and cleanly wound up
        └── StoppedAtOnce        6   interrupted twice: the hosts wind up by themselves

The numbers are the exit statuses of the contract.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

Kind = TypeVar("Kind", bound="DeployError")

_ENVIRONMENT, _COMMAND = "{env}", "{command}"
_COMMAND_LINE = re.compile(r"\bdeploy (?:[a-z]|\{command\})")


def name_environment(text: str, env: str | None, command: str = "") -> str:
    """`text` with the environment's name for `{env}` and the command that was typed for `{command}`.

    Without an environment the word is left out: such commands then take the default environment. Without a command
    `{command}` stays.
    """
    text = text.replace(_COMMAND, command) if command else text
    return text.replace(_ENVIRONMENT, env) if env else text.replace(f" {_ENVIRONMENT}", "")


class DeployError(Exception):
    """An error to show as one block: message, place, cause, last log lines, hint.

    Args:
        message: what failed, one sentence without a full stop.
        host: the inventory name of the host, if one is involved.
        step: the step of the run (`connect`, `build`, `switch` …).
        file: the user's file that is wrong, and `line` (1-based) in it.
        cause: why, when the message does not say it.
        hint: what to type or change next; `{env}` in it stands for the environment, `{command}` for the command typed.
        log: the last lines of whatever died, oldest first.
        code: a stable word for scripts; the class's own by default.
    """

    exit_status: int = 1
    default_code: ClassVar[str] = "internal"
    log_label: ClassVar[str] = "its last lines"  # what the lines of `log` are
    recheck: ClassVar[str] = ""  # the command that shows whether an edit which the hint advises is right

    def __init__(
        self,
        message: str,
        *,
        host: str | None = None,
        step: str | None = None,
        file: str | None = None,
        line: int | None = None,
        cause: str | None = None,
        hint: str | None = None,
        log: Sequence[str] = (),
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.host = host
        self.step = step
        self.file = file
        self.line = line
        self.cause = cause
        self.hint = hint
        self.log = tuple(log)
        self.code = code or self.default_code

    @property
    def where(self) -> str:
        """`deploy.yaml:3`, `web1, step switch`, or an empty string."""
        places = []
        if self.file:
            places.append(f"{self.file}:{self.line}" if self.line else self.file)
        if self.host:
            places.append(self.host)
        if self.step:
            places.append(f"step {self.step}")
        return ", ".join(places)

    def as_kind(self, kind: type[Kind], *, hint: str = "") -> Kind:
        """Return the same facts as another kind of error, which is to be raised from this one.

        Args:
            kind: one that is made as DeployError is.
            hint: for an error that has none of its own.
        """
        return kind(
            self.message,
            host=self.host,
            step=self.step,
            file=self.file,
            line=self.line,
            cause=self.cause,
            hint=self.hint or hint or None,
            log=self.log,
            code=self.code,
        )

    def name_environment(self, env: str | None, command: str = "") -> None:
        """Puts the names of environment and command into the texts, before a person sees them.

        A hint that advises an edit gets the command that shows whether the edit is right (`recheck`).
        """
        self.message = name_environment(self.message, env, command)
        self.cause = self.cause and name_environment(self.cause, env, command)
        if self.recheck and not _COMMAND_LINE.search(self.hint or ""):
            self.hint = self._edit_hint(self.recheck if env or not command else "deploy {command}")
        self.hint = self.hint and name_environment(self.hint, env, command)

    def _edit_hint(self, recheck: str) -> str | None:
        """Return the hint as an edit: what to write, where, and `recheck`, the command that shows the result."""
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file or ""
        if not self.hint:
            return f"change {place}, then type {recheck}" if place else f"{recheck} shows it once that is changed"
        if self.hint.endswith("?"):
            return f"{self.hint} Write that{f' in {place}' if place else ''}, then type {recheck}"
        return f"{self.hint}{f' ({place})' if place and place not in self.hint else ''}; then type {recheck}"

    def as_dict(self) -> dict[str, Any]:
        """Return the `error` object of the JSON contract, with whatever else is known."""
        return {
            "code": self.code,
            "message": self.message if not self.cause else f"{self.message}: {self.cause}",
            "host": self.host,
            "step": self.step,
            "hint": self.hint,
            "file": self.file,
            "line": self.line,
            "log": list(self.log),
        }

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}: {self.cause}" if self.cause else text


class ProgramFault(DeployError):
    """A fault of the program itself. Its `__cause__` is the exception, whose traceback the command line shows."""

    @classmethod
    def of(cls, error: Exception) -> DeployError:
        """`error` itself if it is a DeployError, else the ProgramFault for it."""
        if isinstance(error, DeployError):
            return error
        fault = cls(
            "this is a fault of deploy itself",
            cause=f"{type(error).__name__}: {error}",
            hint="deploy status {env} shows what serves; report the fault with the lines above",
        )
        fault.__cause__ = error
        return fault

    @staticmethod
    def behind(error: BaseException | None) -> Exception | None:
        """Return the exception that is the fault behind `error`, through all its causes; None where there is none."""
        while error is not None:
            if isinstance(error, ProgramFault):
                return error.__cause__ if isinstance(error.__cause__, Exception) else error
            error = error.__cause__
        return None


class UsageError(DeployError):
    """The command line asks for something that makes no sense."""

    exit_status = 2
    default_code = "usage"
    log_label = "and also"


class SettingsError(UsageError):
    """`deploy.yaml` or one of its overlays is wrong."""

    default_code = "settings"
    recheck = "deploy plan {env}"


class InventoryError(UsageError):
    """The inventory is wrong, or a pattern matches nothing."""

    default_code = "inventory"
    recheck = "deploy hosts {env}"


class UnreachableError(DeployError):
    """A host could not be reached; nothing was changed."""

    exit_status = 3
    default_code = "unreachable"


class UntrustedHostError(UnreachableError):
    """A host's key is unknown or not the known one; nothing was changed."""

    default_code = "untrusted"


class NotReadyError(UnreachableError):
    """A host answers but cannot be used: no Python, no sudo, not set up, a port taken; nothing was changed."""

    default_code = "not_ready"


class LockedError(DeployError):
    """Another run holds the lock of this app and environment."""

    exit_status = 4
    default_code = "locked"


class FrozenError(DeployError):
    """A person froze this environment."""

    exit_status = 4
    default_code = "frozen"


class RolloutError(DeployError):
    """The rollout failed; whatever this run changed was put back."""

    exit_status = 5
    default_code = "rollout"


class NeedsPersonError(DeployError):
    """A person has to look: the message says at which instance and what to type."""

    exit_status = 6
    default_code = "needs_person"


class ChecksError(DeployError):
    """testinfra checks failed, or none ran."""

    exit_status = 7
    default_code = "checks"


class LeftBehindError(DeployError):
    """Finished within its failure budget, but some instances were left behind."""

    exit_status = 8
    default_code = "left_behind"


class CommandError(DeployError):
    """A person's own command ended with another status than 0; this one ends with the same, as `ssh` does."""

    default_code = "command_failed"

    def __init__(self, message: str, *, status: int, step: str) -> None:
        super().__init__(message, step=step)
        self.exit_status = status


class InterruptedRun(DeployError):
    """Ctrl-C or `deploy cancel`, cleanly wound up."""

    exit_status = 130
    default_code = "interrupted"


class StoppedHalfWay(InterruptedRun):
    """Ctrl-C or `deploy cancel`, where the policy is to stop: some instances have the new release, and keep it."""


class StoppedAtOnce(InterruptedRun):
    """Ctrl-C twice: nothing was wound up here, the hosts do it by themselves."""

    exit_status = 6
    default_code = "stopped"
