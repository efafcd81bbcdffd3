"""`run`: how an instance of one release starts; rendered into the release, executed by its unit in that folder."""

from __future__ import annotations

from collections.abc import Mapping

from deployer import templating
from deployer.runtimes.arguments import PORT
from deployer.runtimes.base import Runtime, Serving
from deployer.runtimes.environment import FIXED, check_env

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
) -> str:
    """A POSIX sh script that ends in `exec` of the server.

    Args:
        serving, runtime: what to run.
        base_port: slot of instance 0; `spare_port`: its second slot. Instance i has both plus i.
        env: the app's own variables; secrets are read from `secrets_file` (absolute) at start, if it exists.
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
        command=" ".join(_word(word) for word in runtime.command(serving)),
    )


def _word(word: str) -> str:
    """The word quoted for sh, with `$PORT` in it left to be expanded."""
    parts = [templating.sh(part) if part else "" for part in word.split(PORT)]
    return f'"{PORT}"'.join(parts) or "''"
