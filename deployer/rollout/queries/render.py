"""`deploy render`: every file that would be sent to a host, written to a folder here. Connects to nothing."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import version
from pathlib import Path

from deployer import runtimes
from deployer.agent.model.resources import File, to_wire
from deployer.artifact.dependencies import python
from deployer.artifact.dependencies.image import installing
from deployer.errors import SettingsError, UsageError
from deployer.events import Bus, Output, Warned
from deployer.plan import start
from deployer.plan.container import dockerfile
from deployer.plan.size import size_of
from deployer.plan.topology import Topology, WebHost
from deployer.rollout.delivery.inventory_remarks import inventory_remarks
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.rollout.steps.resources import for_setup
from deployer.settings.load import shown
from deployer.settings.workers import Size

ASSUMED_CORES = 2
ASSUMED_MEMORY = 4 << 30


def render(
    project: Project, invocation: Invocation, *, out: Path, standalone: bool = False, image: bool = False
) -> None:
    """Writes `OUT/HOST/<path on the host>`, a `resources.json` a host, and each host's `run` script.

    `image`: a Dockerfile and its .dockerignore too.

    A host's cores and memory are not known here: 2 cores and 4 GiB are taken, and said. UsageError when `out` is a
    folder with something in it. `standalone`: beside them `OUT/HOST/standalone/`, the server's settings as a file that
    runs without `deploy`; SettingsError for a server that has none.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder", hint="name one that does not exist yet")
    topology = project.topology
    for remark in inventory_remarks(topology):
        invocation.bus.emit(Warned(remark))
    project.inferred.require_server()
    with project.loaded.placing():
        ways = {web.name: start.way(topology, web, project.inferred, _assumed(topology, web)) for web in topology.web}
    for wish in for_setup(project):
        for resource in wish.resources:
            if isinstance(resource, File):
                _write(out / wish.host / resource.path.lstrip("/"), resource.content)
        listed = [to_wire(resource) for resource in wish.resources]
        _write(out / wish.host / "resources.json", json.dumps(listed, indent=1) + "\n")
    for web in topology.web:
        way = ways[web.name]
        made = start.start(topology, web, way)
        run, files = made.for_release("RELEASE")
        folder = out / web.name / web.site.release("RELEASE").lstrip("/")
        for path, text in {"run": run, **files}.items():
            _write(folder / path, text)
        for path, text in _standalone(way, web.own.port).items() if standalone else ():
            _write(out / web.name / "standalone" / path, text)
    if image:
        _image(project, invocation.bus, out, ways[topology.web[0].name])
    if topology.balancers:
        invocation.bus.emit(
            Output("files that balancers make on their hosts are left out, so their own check fails: docs/balancers.md")
        )
    invocation.bus.emit(
        Output(f"written to {out}; workers are for {ASSUMED_CORES} cores and 4 GiB, a host's own count later")
    )
    for warning in project.inferred.warnings:
        invocation.bus.emit(Warned(warning))
    for host in topology.hosts:
        invocation.record.host(host.name, "rendered")


def _assumed(topology: Topology, web: WebHost) -> Size:
    """What a host may be, of which nothing is known here."""
    return size_of(
        {"cores": ASSUMED_CORES, "memory": ASSUMED_MEMORY}, topology.settings.unit, topology.supervisor(web).name
    )


def _standalone(way: start.LaunchSpec, port: int) -> dict[str, str]:
    files = runtimes.standalone(way.runtime, way.serving, port)
    if not files:
        raise SettingsError(
            f"--standalone: the server {way.runtime.name} has no such file",
            hint="leave it out; the command line is in `run`",
        )
    return files


def _image(project: Project, bus: Bus, out: Path, way: start.LaunchSpec) -> None:
    """The Dockerfile of the app, with workers as the first web host has them."""
    topology, settings = project.topology, project.topology.settings
    source = project.loaded.folder
    steps = installing(python.read(source, settings.python), source)
    context, drawn = source.resolve(), out.resolve()
    command = f"docker build -t {settings.app} -f {shlex.quote(f'{out}/Dockerfile')} {shlex.quote(shown(context))}"
    inside = (f"/{drawn.relative_to(context)}",) if drawn.is_relative_to(context) else ()
    made = dockerfile(
        topology,
        project.inferred,
        way,
        steps,
        uv=f"uv=={version('uv')}",
        build_command=command,
        left_out=inside,
    )
    for name, text in made.items():
        _write(out / name, text)
    bus.emit(Output(f"an image: {command}"))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path.parent} cannot be made: {error.strerror}", hint="name another folder") from None
    path.write_text(text)
