"""`run`: how an instance of one release starts; rendered into the release, executed by its unit in that folder."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployer import templating
from deployer.runtimes.arguments import PORT, SLOT, VENV
from deployer.runtimes.base import Runtime, Serving
from deployer.runtimes.environment import FIXED, check_env

_EXPANDED = re.compile("(" + "|".join(map(re.escape, (PORT, SLOT, VENV))) + ")")
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
    """A POSIX sh script that ends in `exec` of the server.

    Args:
        serving, runtime: what to run.
        base_port: slot of instance 0; `spare_port`: its second slot. Instance i has both plus i.
        env: the app's own variables; secrets are read from `secrets_file` (absolute) at start, if it exists.
        slots: the folder of the slots' links (absolute).
        app, env_name, release: for `DEPLOY_APP`, `DEPLOY_ENV`, `DEPLOY_RELEASE`.

    Raises:
        SettingsError: a variable's name is reserved, or a value cannot be written.
    """
    check_env(env)
    low, high = sorted((base_port, spare_port))
    return templating.render(
        "run.sh.j2",
        search=serving.search,
        app=app,
        env_name=env_name,
        release=release,
        secrets_file=secrets_file,
        variables={**FIXED, **runtime.variables(serving), **{name: str(value) for name, value in env.items()}},
        pythonpath=[part for part in serving.pythonpath if part not in ("", ".")],
        low_port=low,
        high_port=high,
        slots=slots,
        command=_words(runtime.command(serving)),
        command_with_socket=_words(runtime.command_with_socket(serving)),
    )


def _words(command: tuple[str, ...]) -> str:
    return " ".join(_word(word) for word in command)


def _word(word: str) -> str:
    """The word quoted for sh, with `$PORT` and its like in it left to be expanded."""
    parts = _EXPANDED.split(word)
    return "".join(f'"{part}"' if _EXPANDED.fullmatch(part) else templating.sh(part) for part in parts if part) or "''"
