"""`run`: how an instance of one release starts; `.deploy-within`: how any other command of it does.

Both are rendered into the release. The unit executes the first in that folder; other programs execute the second by
its path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployer import templating
from deployer.runtimes.arguments import PORT, SLOT, SOCKET, VENV
from deployer.runtimes.base import Runtime, Serving
from deployer.runtimes.environment import FIXED, check_env

_EXPANDED = re.compile("(" + "|".join(map(re.escape, (PORT, SLOT, SOCKET, VENV))) + ")")
RUN = "run"
"""Its path in the release; mode 0755."""


def render_run(
    serving: Serving,
    runtime: Runtime,
    *,
    base_port: int,
    spare_port: int,
    env: Mapping[str, str],
    app: str,
    env_name: str,
    release: str,
    secrets_file: str,
    slots: str,
) -> str:
    """Return a POSIX sh script that ends in `exec` of the server.

    Args:
        serving, runtime: what to run.
        base_port: slot of instance 0; `spare_port`: its second slot. Instance i has both plus i.
        env: the app's own variables; secrets are read from `secrets_file` (absolute) at start, if it exists.
        slots: the folder of the slots' links (absolute).
        app, env_name, release: for `DEPLOY_APP`, `DEPLOY_ENV`, `DEPLOY_RELEASE`.

    Raises:
        SettingsError: a variable's name is reserved, or a value cannot be written.
    """
    low, high = sorted((base_port, spare_port))
    return templating.render(
        "run.sh.j2",
        search=serving.search,
        app=app,
        env_name=env_name,
        release=release,
        secrets_file=secrets_file,
        variables=_variables(runtime.variables(serving), env),
        pythonpath=_folders(serving.pythonpath),
        low_port=low,
        high_port=high,
        slots=slots,
        sockets=serving.address if serving.at_sockets else "",
        command=_words(runtime.command(serving)),
        command_with_socket=_words(runtime.command_with_socket(serving)),
    )


def render_within(
    *,
    env: Mapping[str, str],
    pythonpath: Sequence[str],
    search: Sequence[Path],
    app: str,
    env_name: str,
    release: str,
    secrets_file: str,
) -> str:
    """Return a POSIX sh script that runs its words as `run` would run the server, but for the port and the instance.

    Takes what `render_run` takes; `pythonpath` and `search` as in `Serving`. Raises SettingsError likewise.
    """
    return templating.render(
        "within.sh.j2",
        search=search,
        app=app,
        env_name=env_name,
        release=release,
        secrets_file=secrets_file,
        variables=_variables({}, env),
        pythonpath=_folders(pythonpath),
    )


def _variables(server: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """Return what is exported before the secrets: the app's own win over the server's."""
    check_env(env)
    return {**FIXED, **server, **{name: str(value) for name, value in env.items()}}


def _folders(pythonpath: Sequence[str]) -> list[str]:
    return [part for part in pythonpath if part not in ("", ".")]


def _words(command: tuple[str, ...]) -> str:
    return " ".join(_word(word) for word in command)


def _word(word: str) -> str:
    """Return the word quoted for sh, with `$PORT` and its like in it left to be expanded."""
    parts = _EXPANDED.split(word)
    return "".join(f'"{part}"' if _EXPANDED.fullmatch(part) else templating.sh(part) for part in parts if part) or "''"
