"""What `deploy init` writes: the few lines of `deploy.yaml` that cannot be inferred, and a first inventory."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deployer.errors import SettingsError, UsageError
from deployer.settings import project_files
from deployer.settings.inference.infer import Reason
from deployer.settings.init import procfile
from deployer.settings.init.hooks import Proposed, hooks
from deployer.settings.init.monorepo import Part, named_in_part, part_of
from deployer.settings.init.procfile import Procfile
from deployer.settings.init.project_scripts import rewrite_commands
from deployer.settings.init.runtime import InitChoice, InitOptions, choose_runtime
from deployer.settings.init.size_presets import Scale, scale
from deployer.settings.init.summary import reasons
from deployer.settings.load import FILE, shown
from deployer.settings.yaml.flow import flow

_INVENTORY = """\
# The hosts of {env}. Replace the name by that of your server; more hosts go below it.
web:
  hosts:
    web1.example.com:       # a name or an address that ssh reaches
      ansible_user: root    # the user you log in as
# A load balancer before several hosts:
# balancers: {{hosts: {{lb1.example.com: {{}}}}}}
"""


@dataclass(frozen=True)
class Proposal:
    """What is to be written, absolute path → content, and why: the choices, and what is left to a person.

    `first` is what to type before anything else works; None where nothing is to be done.
    """

    files: dict[Path, str]
    reasons: tuple[Reason, ...]
    remarks: tuple[str, ...] = ()
    first: str | None = None


def propose(folder: Path, env: str = "prod", options: InitOptions | None = None) -> Proposal:
    """Return the files to write for the app in `folder`. Nothing is written.

    An inventory of `env` that is already there is kept and not among them. Raises: SettingsError when deploy.yaml is
    there, when the folder has no app, or when several could be meant, with what to type; UsageError for no folder.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        what = "is a file, not the folder of an app" if folder.exists() else "there is no such folder"
        raise UsageError(f"{shown(folder)}: {what}", hint="deploy init FOLDER, or deploy init within it")
    path = folder / FILE
    if path.exists():
        raise SettingsError(
            f"{shown(path)} is already there, and is not overwritten",
            file=shown(path),
            hint="edit it, or remove it first",
        )
    options = options or InitOptions()
    sized = scale(options.size) if options.size else None
    draft = _draft(folder, None, options)
    target = draft.choice.inferred.target
    part = part_of(folder, target.path) if target else None
    if part:
        draft = replace(draft, part=part) if part.outside else _draft(folder, part, options)
    files = {path: draft.text(sized)}
    inventories = folder / "inventories"
    if not any(entry.stem == env or entry.name == env for entry in inventories.glob("*")):
        files[inventories / f"{env}.yaml"] = (sized.inventory if sized else _INVENTORY).format(env=env)
    choice = draft.choice
    of_app = reasons(draft.code, choice.inferred, choice.keys, sized=sized is not None, by_web=choice.by_web)
    unread = choice.inferred.unread
    first = f"{f'cd {draft.subdir} && ' if draft.subdir else ''}{unread[1]}" if unread else None
    return Proposal(files, (*of_app, *draft.beside()), (*choice.of_size, *draft.remarks), first)


def write(folder: Path, env: str = "prod", options: InitOptions | None = None) -> Proposal:
    """Write the result of `propose`, and return it. A file that appeared in between is not overwritten."""
    proposal = propose(folder, env, options)
    for path, content in proposal.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            raise SettingsError(f"{shown(path)} is already there, and is not overwritten", file=shown(path)) from None
        except OSError as problem:
            raise SettingsError(f"{shown(path)} cannot be written: {problem.strerror}", file=shown(path)) from None
    return proposal


def _draft(folder: Path, part: Part | None, options: InitOptions) -> _Draft:
    """Return what to write for the app in `folder`, or in that part of it."""
    code = folder / part.folder if part else folder
    procfile_settings = rewrite_commands(procfile.read(code if (code / procfile.FILE).is_file() else folder), code)
    web = procfile_settings.runtime
    if part and "app" in web:
        web = {**web, "app": named_in_part(folder, part.folder, web["app"])}
    if part and options.app:
        options = replace(options, app=named_in_part(folder, part.folder, options.app))
    return _Draft(
        app_name(folder),
        code,
        part,
        procfile_settings,
        choose_runtime(code, options, web),
        hooks(code, procfile_settings),
    )


@dataclass(frozen=True)
class _Draft:
    """What deploy.yaml is to say of the app in `code`: its own folder, or `part` of it where that can go alone."""

    app: str
    code: Path
    part: Part | None
    procfile: Procfile
    choice: InitChoice
    hooks: Mapping[str, Proposed]

    def text(self, sized: Scale | None) -> str:
        """Return the file, with the remarks as comments."""
        choice, note = self.choice, ""
        if choice.by_web:
            note = "    # as web in the Procfile" + (", but for the size" if sized else "")
        lines = [f"app: {self.app}", f"domains: [{self.app}.example.com]    # replace: the names that your users type"]
        if self.part and self.subdir:
            lines.append(f"source: {flow({'subdir': self.subdir})}    # the app and {self.part.file} lie there")
        lines += [f"# {remark}" for remark in choice.of_size]
        if choice.keys:
            lines.append(f"runtime: {flow(choice.keys)}{note}")
        if sized and sized.instances > 1:
            lines.append(f"instances: {sized.instances}    # on each host")
        if choice.inferred.missing:
            missing = flow({"with": list(choice.inferred.missing)})
            lines.append(f"python: {missing}    # the server, which your requirements lack")
        if self.hooks:
            commands = {name: hook.command for name, hook in self.hooks.items()}
            when = "; ".join(f"{name} {hook.when}" for name, hook in self.hooks.items())
            lines.append(f"hooks: {flow(commands)}    # {when}")
        if self.procfile.processes:
            lines.append("processes:    # as in the Procfile")
        for name, process in self.procfile.processes.items():
            why = self.procfile.whys.get(name)
            lines.append(f"  {name}: {flow(process)}" + (f"    # {why}" if why else ""))
        return "\n".join([*lines, *(f"# {remark}" for remark in self.remarks)]) + "\n"

    @property
    def subdir(self) -> str:
        """The folder that is shipped alone; "" where all is."""
        return self.part.folder if self.part and not self.part.outside else ""

    @property
    def remarks(self) -> list[str]:
        """What is left to a person: of the Procfile, of a part that cannot go alone, of the app's gunicorn.conf.py."""
        remarks = [f"Procfile: {remark}" for remark in (*self.procfile.remarks, *self.choice.of_web)]
        if self.part and self.part.outside:
            folder, file, outside = self.part.folder, self.part.file, self.part.outside
            advice = (
                f"write a requirements.txt here, {f'with -r {folder}/{file}' if file.endswith('.txt') else 'as it has'}"
            )
            remarks.append(f"{folder}/{file} is not read, since {outside} from outside {folder}: {advice}")
        return [*remarks, *self.choice.inferred.left_aside]

    def beside(self) -> list[Reason]:
        """Return the folder, hooks and processes that are written, and why."""
        extra_reasons = []
        if self.part and self.subdir:
            why = f"the app and its {self.part.file} lie there: a push ships that folder alone"
            extra_reasons.append(Reason("source.subdir", self.subdir, why))
        for name, hook in self.hooks.items():
            extra_reasons.append(Reason(f"hooks.{name}", hook.command, f"{hook.why}; {hook.when}"))
        for name, process in self.procfile.processes.items():
            single = f"; singleton: {self.procfile.whys[name]}" if name in self.procfile.whys else ""
            extra_reasons.append(Reason(f"processes.{name}", process["command"], f"as in the Procfile{single}"))
        return extra_reasons


def app_name(folder: Path) -> str:
    """Return a valid app name from the project's name in pyproject.toml, else from the folder's."""
    name = folder.absolute().name
    with contextlib.suppress(SettingsError):  # the inference of the rest reports it
        name = project_files.load(folder / "pyproject.toml").get("project", {}).get("name", name)
    letters = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    plain = re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")
    plain = re.sub(r"^[^a-z]+", "", plain)[:31].strip("-")
    return plain or "app"
