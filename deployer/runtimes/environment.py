"""What every command of a release sees in its environment: its instances, its hooks, its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.errors import SettingsError
from deployer.settings.models import ENV_NAME
from deployer.settings.values import require_free_name

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FIXED: Mapping[str, str] = {
    "PYTHONUNBUFFERED": "1",
    # The release is read-only and its bytecode is compiled before it is sealed.
    "PYTHONDONTWRITEBYTECODE": "1",
}


def check_env(env: Mapping[str, str], *, where: str = "env") -> None:
    """Raise SettingsError when a name is not a valid or a free one (`PORT`, `DEPLOY_*`), or a value has a line
    break."""
    for name, value in env.items():
        if not ENV_NAME.match(name):
            raise SettingsError(
                f"{where}: {name!r} is not a valid environment variable name", hint="letters, digits and _"
            )
        try:
            require_free_name(name)
        except ValueError as error:
            raise SettingsError(f"{where}: {error}") from None
        if any(char in str(value) for char in "\n\r\0"):
            raise SettingsError(
                f"{where}: the value of {name} has more than one line", hint="put it under secrets, which may"
            )


def instance_variables(*, app: str, env_name: str, port: int) -> dict[str, str]:
    """Return what the only instance of an app sees where it runs without a host's slots: here, or in a container."""
    return {"PORT": str(port), "DEPLOY_APP": app, "DEPLOY_ENV": env_name, "DEPLOY_INSTANCE": "0"}


def release_environment(
    *,
    app: str,
    env_name: str,
    release: str,
    folder: str,
    env: Mapping[str, str],
    pythonpath: Sequence[str] = (),
) -> dict[str, str]:
    """Return the environment of hooks and checks, without secrets; their caller reads the secrets file first.

    Args:
        app: the app's name, and `env_name` that of its environment.
        release: the release's id, and `folder` its absolute path on the host.
        env: the app's own variables.
        pythonpath: folders of the release, relative to it.
    """
    check_env(env)
    own = {name: str(value) for name, value in env.items()}
    environment = {
        **FIXED,
        **own,
        "PATH": f"{folder}/.venv/bin:" + own.get("PATH", _SYSTEM_PATH),
        "DEPLOY_APP": app,
        "DEPLOY_ENV": env_name,
        "DEPLOY_RELEASE": release,
    }
    paths = [f"{folder}/{part}" for part in pythonpath if part not in ("", ".")]
    if paths:
        environment["PYTHONPATH"] = ":".join([*paths, *([own["PYTHONPATH"]] if own.get("PYTHONPATH") else [])])
    return environment
