"""A role: what a group of hosts is for, as its `role.yaml` says. Every text in it may use Jinja."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from deployer.settings.models import Model


def _many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_many)]
Mode = Annotated[str, Field(pattern=r"^0?[0-7]{3,4}$")]


class RoleUser(Model):
    """A system user of the host, with a group of its name."""

    name: str
    home: str


class RoleDirectory(Model):
    """A folder. `path` may give several lines, a folder each, or none."""

    path: str
    owner: str = ""
    group: str = ""
    mode: Mode = "0755"


class RoleFile(Model):
    """A file, rendered from `template` (in the role's `templates/`, then in the usual ones)."""

    path: str
    template: str
    owner: str = ""
    group: str = ""
    mode: Mode = "0644"
    notify: Words = ()
    sensitive: bool = False
    initial: bool = False


class RoleText(Model):
    """All keys of a `role.yaml`.

    `for_` (written `for`): parts (`web`, `balancers`, `all`) or patterns of group names. `when`: only where the app
    uses this `supervisor` or `balancer`. `adapter`: what the supervisor or balancer adapter itself installs is part of
    the role. `handlers`: name → commands, each a list of words.
    """

    description: str
    for_: Words = Field(default=("all",), alias="for")
    when: dict[Literal["supervisor", "balancer"], Words] = Field(default_factory=dict)
    adapter: Literal["supervisor", "balancer"] | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)
    packages: Words = ()
    users: tuple[RoleUser, ...] = ()
    directories: tuple[RoleDirectory, ...] = ()
    files: tuple[RoleFile, ...] = ()
    services: Words = ()
    handlers: dict[str, tuple[tuple[str, ...], ...]] = Field(default_factory=dict)


class Role(Model):
    """A role as found: its name, its folder, and what its `role.yaml` says."""

    name: str
    folder: Path
    text: RoleText

    @property
    def checks(self) -> Path:
        """The folder of its testinfra checks, which may not exist."""
        return self.folder / "checks"

    @property
    def templates(self) -> Path:
        """The folder of its own templates, which may not exist."""
        return self.folder / "templates"
