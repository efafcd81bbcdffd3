"""From what the user typed to the project it is about."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployer.cli.options import Common, Environment
from deployer.errors import UsageError

if TYPE_CHECKING:
    from deployer.rollout.run.project import Project

Env = Annotated[
    str | None, typer.Argument(metavar="ENV", help="The environment; by default DEPLOY_ENV or default_env.")
]
EnvNeeded = Annotated[str, typer.Argument(metavar="ENV", help="The environment.")]


def load(env: str | None, common: Common, rolling: Mapping[str, Any] | None = None) -> Project:
    """Settings and inventory of the environment, as the common options and those of a rolling change ask for them."""
    from deployer.cli.run import performer
    from deployer.rollout.run.project import load as load_project

    common.environment.name = env or os.environ.get("DEPLOY_ENV")
    project = load_project(
        env,
        config=common.config,
        inventory=common.inventory or _lab(env),
        limit=common.limit,
        user=common.user,
        sudo_password=common.sudo_password(),
        who=performer(),
        rolling=rolling,
    )
    common.environment.name = project.env
    return project


def load_to_look(env: str | None, common: Common, rolling: Mapping[str, Any] | None = None) -> Project:
    """`load` for a command that changes nothing: where there is only one environment, it needs no name."""
    from deployer.settings.load import NO_ENVIRONMENT

    try:
        return load(env, common, rolling)
    except UsageError as error:
        known = _environments(common) if error.code == NO_ENVIRONMENT and env is None else []
        if len(known) != 1:
            if known:
                error.hint = f"deploy {{command}} {known[0]}; there are: {', '.join(known)}"
            raise
        return load(known[0], common, rolling)


def _environments(common: Common) -> list[str]:
    """Return the environments beside deploy.yaml and above it, sorted."""
    from deployer.inventory.find import known_environments
    from deployer.settings.load import find

    return sorted(known_environments(find(common.config).parent))


def other(common: Common) -> Common:
    """Return the common options for an environment beside the one on the command line: without its inventory
    and limit."""
    return replace(common, inventory=None, limit=None, environment=Environment())


def _lab(env: str | None) -> Path | None:
    """Return the inventory of the lab of that name, if one is up: its name is an environment from any folder."""
    name = env or os.environ.get("DEPLOY_ENV")
    if not name:
        return None
    from deployer.lab.place import inventory_of

    return inventory_of(name)
