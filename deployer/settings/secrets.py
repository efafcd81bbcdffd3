"""Values of secrets, read here when a command needs them and never kept, shown or logged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from deployer import local_program
from deployer.agent.model.shell import shell_argv
from deployer.errors import SettingsError
from deployer.settings.models import SecretRef

COMMAND_TIMEOUT_S = 60.0


def resolve_secrets(
    refs: Mapping[str, SecretRef] | tuple[str, ...],
    base: Path,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = COMMAND_TIMEOUT_S,
) -> dict[str, str]:
    """Return the values of `refs` by name.

    Args:
        refs: `settings.secrets` or `settings.python.secrets`.
        base: the folder of deploy.yaml: commands run there, sops files are relative to it.
        environ: where `{env: NAME}` looks; this process's environment by default.
        timeout_s: seconds that each command may take.

    Raises: SettingsError that names the secret and what it looked for, never a value.
    """
    if isinstance(refs, tuple):
        if not refs:
            return {}
        raise SettingsError(
            f"the project's own store of secrets ({', '.join(refs)}) is not there yet",
            hint=f"name a source for each: secrets: {{{refs[0]}: {{env: {refs[0]}}}}}",
        )
    lookup = os.environ if environ is None else environ
    return {name: _value(name, ref, base, lookup, timeout_s) for name, ref in refs.items()}


def _value(name: str, ref: SecretRef, base: Path, environ: Mapping[str, str], timeout_s: float) -> str:
    if ref.env is not None:
        value = _from_env(name, ref.env, environ)
    elif ref.command is not None:
        value = _output(name, shell_argv(ref.command), base, timeout_s)
    else:
        value = _from_sops(name, str(ref.sops), base, timeout_s)
    if "\x00" in value:
        raise SettingsError(f"secrets.{name}: its value has a NUL byte, which no environment can hold")
    return value


def _from_env(name: str, variable: str, environ: Mapping[str, str]) -> str:
    if variable not in environ:
        raise SettingsError(
            f"secrets.{name} comes from the environment variable {variable}, which is not set",
            hint=f"export {variable}=… before you run this",
        )
    return _require_utf8(
        environ[variable], f"secrets.{name}: the environment variable {variable} holds bytes that are not UTF-8 text"
    )


def _from_sops(name: str, file: str, base: Path, timeout_s: float) -> str:
    if shutil.which("sops") is None:
        raise SettingsError(
            f"secrets.{name} is in {file}, but sops is not installed on this machine",
            hint="install sops, or give the secret as {env: …} or {command: …}",
        )
    if not (base / file).is_file():
        raise SettingsError(f"secret {name} comes from {file}, which does not exist", file=file)
    return _output(name, ["sops", "-d", "--extract", f"[{json.dumps(name)}]", file], base, timeout_s)


def _output(name: str, argv: list[str], base: Path, timeout_s: float) -> str:
    """Return what the command prints, without its last newline.

    Its stderr goes to the terminal: it may ask for a touch.
    """
    done = local_program.run_at_terminal(argv, timeout=timeout_s, cwd=base, inherit_stderr=True)
    if done.timed_out:
        raise SettingsError(
            f"secrets.{name}: its command did not end within {timeout_s:g} s",
            hint="run it by hand: it may be waiting for an answer",
        )
    if not done.ok:
        raise SettingsError(f"secrets.{name}: its command failed: {done.why}", hint="run it by hand to see why")
    text = _require_utf8(done.stdout, f"secrets.{name}: its command printed something that is not UTF-8 text")
    if not text.strip():
        raise SettingsError(f"secrets.{name}: its command printed nothing", hint="run it by hand to see why")
    return text.removesuffix("\n").removesuffix("\r")


def _require_utf8(text: str, message: str) -> str:
    """`text`, if UTF-8 can carry it; else SettingsError with `message`, which must not hold the value."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SettingsError(message, hint="encode it, for example in base64, and let the app decode it") from None
    return text
