"""Lines of a Procfile that start commands of the project itself, written so that hosts have them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deployer.settings.inference.requirements import read_requirements
from deployer.settings.inference.server.project_script import not_installed, own_command
from deployer.settings.init.procfile import Procfile


def rewrite_commands(procfile: Procfile, folder: Path) -> Procfile:
    """Return what a Procfile comes to for the project in `folder`, with a remark for each command that is another."""
    scripts, remarks = read_requirements(folder).scripts, list(procfile.remarks)

    def on_hosts(command: str) -> str:
        own = own_command(folder, scripts, command)
        if own:
            remarks.append(f"{not_installed(own.name)}: it is written as {own.instead}")
        return own.instead if own else command

    return replace(
        procfile,
        runtime={key: on_hosts(value) if key == "command" else value for key, value in procfile.runtime.items()},
        release=procfile.release and on_hosts(procfile.release),
        processes={
            name: {**process, "command": on_hosts(process["command"])} for name, process in procfile.processes.items()
        },
        remarks=tuple(remarks),
    )
