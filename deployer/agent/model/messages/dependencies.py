"""Messages about interpreters, virtualenvs and the programs that make them."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import Amount, NotRequired, Operation, PythonVersion, TypedDict


class VenvSpec(TypedDict):
    """A virtualenv: what is installed in it, by what, for which interpreter.

    `requirements` are texts that are complete and pinned, in the order to install them; for `venv.resolve` they are
    loose, within `constraints`. `requires`: distributions that have to be there at the end. `timeout`: seconds for each
    program.
    """

    key: NotRequired[str]
    python: str
    installer: str
    uv: NotRequired[str | None]
    requirements: NotRequired[list[str]]
    constraints: NotRequired[str]
    requires: NotRequired[list[str]]
    env: NotRequired[dict[str, str]]
    secrets: NotRequired[dict[str, str]]
    timeout: NotRequired[Amount]


class InspectPython(TypedDict):
    """The path of an interpreter."""

    python: str


class PythonFacts(TypedDict):
    """What an interpreter is; `version` is exact."""

    path: str
    version: PythonVersion
    implementation: str
    abi: str
    arch: str
    libc: str


class Resolve(OnSite):
    """`venv` has loose requirements."""

    venv: VenvSpec


class Resolved(TypedDict):
    """One text that pins every distribution."""

    requirements: str


class RepairVenv(OnSite):
    """`env`, `secrets` and `timeout` are as those of a virtualenv."""

    release: str
    env: NotRequired[dict[str, str]]
    secrets: NotRequired[dict[str, str]]
    timeout: NotRequired[Amount]


class Repaired(TypedDict):
    """`built` false: it was whole."""

    built: bool


class FindTool(OnSite):
    """A program by its name, version and the SHA-256 of its bytes; `venv`: the key it is wanted for."""

    name: str
    version: str
    sha: str
    venv: NotRequired[str]


class ToolFound(TypedDict):
    """`path` null: it must be brought. `needed` false: that virtualenv is complete."""

    path: str | None
    needed: bool


class PutTool(OnSite):
    """The body is the program, gzip'd; `sha` is that of the program itself."""

    name: str
    version: str
    sha: str


class ToolPut(TypedDict):
    """Where it is now."""

    path: str


class CaddyFound(TypedDict):
    """`path` null: no Caddy here is new enough, and why."""

    path: str | None
    why: str


INSPECT = Operation("venv.inspect", InspectPython, PythonFacts)
RESOLVE = Operation("venv.resolve", Resolve, Resolved)
REPAIR = Operation("repair.venv", RepairVenv, Repaired)
FIND_TOOL = Operation("tool.has", FindTool, ToolFound)
PUT_TOOL = Operation("tool.put", PutTool, ToolPut)
FIND_CADDY = Operation("caddy.program", OnSite, CaddyFound)
