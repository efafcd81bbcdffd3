"""`deploy scale`: more or fewer instances and workers. The size is written into the settings, and then rolled out.

What serves goes on with its code: the release that the environment has proven, not what is committed meanwhile.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import DeployError, LeftBehindError, NeedsPersonError, StoppedAtOnce, StoppedHalfWay, UsageError
from deployer.events import Bus, Output, Warned
from deployer.inventory.find import FOLDER, environments
from deployer.rollout.commands.push import push
from deployer.rollout.delivery.promotion import proven_in
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.settings.load import shown
from deployer.settings.yaml.edit import set_value

KEYS: Mapping[str, tuple[str, ...]] = {"instances": ("instances",), "workers": ("runtime", "workers")}


@dataclass(frozen=True)
class Edit:
    """A settings file before and after."""

    path: Path
    before: str
    after: str

    @property
    def diff(self) -> str:
        """As a unified diff; empty where the file says it already."""
        name = shown(self.path)
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), name, name, lineterm="")
        return "\n".join(lines)

    @contextmanager
    def made(self) -> Iterator[None]:
        """The file is changed while the block runs, and stays so unless everything was put back on the hosts too."""
        existed = self.path.exists()
        if self.diff:
            self.path.write_text(self.after, encoding="utf-8")
        try:
            yield
        except (LeftBehindError, NeedsPersonError, StoppedAtOnce, StoppedHalfWay):
            raise
        except (DeployError, KeyboardInterrupt):
            if self.diff and existed:
                self.path.write_text(self.before, encoding="utf-8")
            elif self.diff:
                self.path.unlink(missing_ok=True)
            raise


def scale(
    load: Callable[[], Project],
    invocation: Invocation,
    *,
    sizes: Mapping[str, str | int],
    confirm: Callable[[str], None],
) -> None:
    """Writes the size into the settings and brings the hosts to it, wave by wave, with the release that serves.

    Args:
        load: reads the project; called again once the settings are changed.
        sizes: `instances` (at least 1, a host) and `workers` (an instance; a number, or as `runtime.workers` has it).
        confirm: asks a person; raises UsageError when the answer is no, or nobody can answer.

    Raises what `push` raises; the settings are then as they were, unless hosts have the new size.
    """
    project = load()
    if not sizes:
        raise UsageError("nothing to change", hint="add --instances N, --workers N or both")
    if project.topology.spared:
        raise UsageError(
            "a size applies to the whole environment, so --limit cannot be used",
            hint=f"for one host: deploy: {{{project.topology.settings.app}: {{instances: N}}}} in its variables",
        )
    _say_own_sizes(project, invocation.bus, sizes)
    edit = edit_of(project, sizes)
    for line in edit.diff.splitlines():
        invocation.bus.emit(Output(line, step="settings"))
    if edit.diff:
        invocation.bus.flush()
        confirm(f"write that to {shown(edit.path)} and apply it to {project.env}?")
    with edit.made():
        resized = load()
        proven = proven_in(resized, invocation.bus, all_serve=False)
        push(resized, invocation, proven=proven, skip_hooks=("release",))
    if edit.diff:
        invocation.bus.emit(Output(f"{shown(edit.path)} has the new size: commit it, so that the next push keeps it"))


def edit_of(project: Project, sizes: Mapping[str, str | int]) -> Edit:
    """What is to be changed, in the environment's overlay if it has one or is one of several, else in deploy.yaml."""
    path = _file(project)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = before
    for name, value in sizes.items():
        after = set_value(after, KEYS[name], value, shown(path))
    return Edit(path, before, after)


def _file(project: Project) -> Path:
    base = project.loaded.path
    overlay = base.with_name(f"{base.stem}.{project.env}{base.suffix}")
    others = environments(base.parent / FOLDER) - {project.env}
    return overlay if overlay.exists() or others else base


def _say_own_sizes(project: Project, bus: Bus, sizes: Mapping[str, str | int]) -> None:
    """Hosts whose own variables say it keep their size."""
    for web in project.topology.everywhere:
        host_settings = (web.host.variables.get("deploy") or {}).get(project.topology.settings.app) or {}
        for name in [name for name in sizes if host_settings.get(name) is not None]:
            bus.emit(Warned(f"{name}: {host_settings[name]} in the variables of {web.name} stays", host=web.name))
