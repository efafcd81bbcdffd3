"""A Dockerfile from the settings that a push uses: the same dependencies, command, environment and health check."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from deployer import templating
from deployer.agent.model.shell import is_script, shell_argv
from deployer.agent.model.supervision import USUAL_REFUSALS, Health
from deployer.artifact.dependencies.image import Installing
from deployer.errors import SettingsError
from deployer.plan.shared_folders.tree import is_folder_name
from deployer.plan.start import LaunchSpec
from deployer.plan.topology import Topology
from deployer.runtimes.arguments import PORT, SLOT, VENV
from deployer.runtimes.environment import FIXED, check_env, instance_variables
from deployer.settings.inference.infer import Inferred
from deployer.settings.models import Hook
from deployer.settings.patterns import as_dockerignore

USER_ID = 10001
_SUITE = "slim-bookworm"
_PYTHONS = ("3.13", "3.12", "3.11", "3.10", "3.14", "3.9")
"""The default Python: the first of these that the code allows."""

_NOT_THE_APP = (".env", ".env.*", "/inventories", "/Dockerfile", "/Dockerfile.dockerignore", "/.dockerignore")
_KILL_S = 10  # beyond the graceful time, as supervisors give it
_ASKS = """\
import http.client, sys
asked = http.client.HTTPConnection("127.0.0.1", {port}, timeout={timeout!r})
asked.request("GET", {path!r}, headers={headers!r})
status = asked.getresponse().status
sys.exit(not ({ok}))"""


def dockerfile(
    topology: Topology,
    inferred: Inferred,
    way: LaunchSpec,
    installing: Installing,
    *,
    uv: str,
    build_command: str,
    left_out: Sequence[str] = (),
) -> dict[str, str]:
    """`Dockerfile`, and `.dockerignore` under both names that builders look for.

    Args:
        way: how the first web host serves; the workers are its.
        installing: the steps that fill the virtualenv.
        uv: what pip is to install as uv (`uv==0.5.1`).
        build_command: what to type, for the head of the file.
        left_out: patterns of what is not the app's, beside those that always are.

    Raises: SettingsError for what no Dockerfile can say.
    """
    settings = topology.settings
    root = settings.root or f"/srv/{settings.app}"
    serving = replace(way.serving.at_ports, address="0.0.0.0", release="", env=settings.env)
    check_env(settings.env)
    version, why = _python(inferred)
    graceful = int(-(-settings.runtime.graceful_timeout // 1))
    hooks = settings.hooks
    text = templating.render(
        "Dockerfile.j2",
        search=topology.templates,
        app=settings.app,
        env_name=topology.env,
        build_command=build_command,
        base=f"python:{version}-{_SUITE}",
        python_why=why,
        root=root,
        uid=USER_ID,
        packages=settings.packages,
        uv=uv if installing.uv else "",
        install_env=settings.python.env,
        install_secrets=sorted(settings.python.secrets),
        install_from=installing.files,
        install=installing.commands,
        variables={
            **FIXED,
            **way.runtime.variables(serving),
            **settings.env,
            **instance_variables(app=settings.app, env_name=topology.env, port=settings.port),
        },
        pythonpath=_pythonpath(root, inferred.pythonpath, settings.env.get("PYTHONPATH")),
        files=way.runtime.files(serving),
        prepare=_json(*shell_argv(hooks.prepare.command)) if hooks.prepare else "",
        release_hook=_hook_words(hooks.release),
        build_hook=_hook_words(hooks.build),
        shared=[path for path in settings.shared if is_folder_name(path)],
        secrets=sorted(settings.app_secrets),
        port=settings.port,
        graceful=graceful,
        stop_timeout=graceful + _KILL_S,
        health_timeout=max(1, round(settings.health.timeout)) + 1,
        health_within=max(1, round(settings.health.within)),
        health_check=_json("python", "-c", _asking(topology.health(), settings.port)),
        workers_why=way.workers_sum,
        command=_json(*_words(way.runtime.command(serving), root, settings.port)),
    )
    patterns = as_dockerignore((*settings.source.exclude, *_NOT_THE_APP, *left_out))
    ignored = "".join(f"{line}\n" for line in patterns)
    return {"Dockerfile": text, ".dockerignore": ignored, "Dockerfile.dockerignore": ignored}


def _hook_words(hook: Hook | None) -> str:
    """Return what runs a hook, as one line to paste: bash's quoting keeps the line breaks of longer text."""
    if hook is None:
        return ""
    program, *words = shell_argv(hook.command.strip())
    return " ".join([program.removeprefix("/bin/"), *map(_bash_word, words)])


def _bash_word(word: str) -> str:
    if not is_script(word):
        return templating.sh(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"$'{escaped}'"


def _python(inferred: Inferred) -> tuple[str, str]:
    """Return the version of the base, and a sentence that says why."""
    if inferred.python_version:
        python_version = inferred.python_version
        version = ".".join(python_version.split(".")[:2])
        latest = (
            f": the latest {version}, since not every patch has an image of this suite"
            if version != python_version
            else ""
        )
        return version, f"Python {python_version}, as the settings or the code require{latest}."
    python_range = inferred.python_range
    try:
        allowed = SpecifierSet(python_range or "")
    except InvalidSpecifier:
        allowed, python_range = SpecifierSet(), None
    for version in _PYTHONS:
        if any(allowed.contains(f"{version}.{patch}") for patch in (0, 99)):
            within = f", which requires-python ({python_range}) allows" if python_range else ""
            return version, f"Python {version}{within}; python: {{version: …}} in deploy.yaml selects another."
    raise SettingsError(
        f"no Python between 3.9 and 3.14 is allowed by requires-python ({python_range})",
        step="render",
        hint="mend requires-python in pyproject.toml, then type deploy {command} {env}",
    )


def _pythonpath(root: str, folders: Sequence[str], own: str | None) -> str:
    """Return the image's PYTHONPATH; empty where the app needs none."""
    inside = [f"{root}/{part}" for part in dict.fromkeys(folders) if part not in ("", ".")]
    return ":".join([*inside, *([own] if own else [])]) if inside else ""


def _words(command: Sequence[str], root: str, port: int) -> list[str]:
    """Return the release's own words with everything settled, so that no shell is needed to start it."""
    words = [word.replace(PORT, str(port)).replace(SLOT, root).replace(VENV, f"{root}/.venv") for word in command]
    return [f"{root}/{words[0]}" if words[0].startswith(".venv/") else words[0], *words[1:]]


def _asking(health: Health, port: int) -> str:
    headers = {**({"Host": health.host} if health.host else {}), **health.named_headers}
    usual = f"status < 400 or status in {USUAL_REFUSALS}"
    ok = f"status == {health.status}" if health.status is not None else usual
    return _ASKS.format(port=port, timeout=health.timeout, path=health.path, headers=headers, ok=ok)


def _json(*words: str) -> str:
    """Return the exec form of an instruction."""
    return json.dumps(words)
