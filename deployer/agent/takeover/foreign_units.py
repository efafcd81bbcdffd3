"""Who else serves at the app's ports, and how that is stopped for good: a unit of systemd, or a program of supervisord.

No file of theirs is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError
from deployer.agent.system import port_owners, process_runner, procfs
from deployer.agent.takeover import supervisord_programs

if TYPE_CHECKING:
    from deployer.agent.model.messages.takeover import ForeignUnit

_SHORT = 15.0  # seconds for a question to systemd
_STOP = 120.0  # seconds for a stop beyond which systemd itself would have killed it, by its usual settings
_SUPERVISORS = frozenset(("supervisor.service", "supervisord.service"))
_SHARED = frozenset(
    (
        *("apache2", "caddy", "haproxy", "httpd", "nginx"),
        *("containerd", "docker", "podman"),
        *("cron", "crond", "ssh", "sshd"),
    )
)


def at(site: Site, ports: list[int]) -> list[ForeignUnit]:
    """`[{unit, ports, pid, command, enabled, why, program, stop, start}]`; `why` says what keeps us from stopping it.

    `program` is there for one of supervisord's (`supervisord_programs.Program`); `stop` and `start` are what a person
    types.
    """
    units: dict[str, ForeignUnit] = {}
    for port in ports:
        pids = [
            pid
            for pid in port_owners.find_port_owner("0.0.0.0", port).pids
            if port_owners.release_of(site, pid) is None
        ]
        unit = procfs.unit_of(pids[0]) if pids else ""
        if not unit:
            continue
        record = _program(site, pids[0], ports) if unit in _SUPERVISORS else _unit(unit, ports)
        known = units.setdefault(record["unit"], {**record, "ports": [], "pid": pids[0]})
        known["ports"].append(port)
        known.setdefault("command", procfs.command(pids[0]))
    return list(units.values())


def stop_for_good(unit: ForeignUnit) -> None:
    """Stops it, and sees to it that no start of the host brings it back; raises OpError `did_not_stop`."""
    program = unit.get("program")
    if program:
        failure = supervisord_programs.stop_for_good(program)
    else:
        done = _systemctl("disable", "--now", unit["unit"], within=_STOP)
        state = _systemctl("is-active", unit["unit"]).stdout.strip()
        failure = done if not done.ok or state in ("active", "deactivating") else None
    if failure is not None:
        why = f"{unit['unit']} was not stopped: {'it is still active' if failure.ok else failure.why}"
        by_hand = unit.get("stop") or f"systemctl disable --now {unit['unit']}"
        raise OpError("did_not_stop", why, f"{by_hand}, then type deploy push {{env}}", log=failure.log())


def _unit(unit: str, ports: list[int]) -> ForeignUnit:
    enabled = _systemctl("is-enabled", unit).stdout.strip() == "enabled"
    return {
        "unit": unit,
        "ports": [],
        "enabled": enabled,
        "why": _why_not(unit, ports),
        "stop": f"systemctl disable --now {unit}",
        "start": f"systemctl {'enable --now' if enabled else 'start'} {unit}",
    }


def _program(site: Site, pid: int, ports: list[int]) -> ForeignUnit:
    try:
        program = supervisord_programs.program_of(pid)
    except supervisord_programs.NotPlain as error:
        why = f"supervisord has it, and {error}"
        by_hand = "stop that program by hand"
        return {"unit": procfs.unit_of(pid), "ports": [], "enabled": True, "why": why, "stop": by_hand}
    name, roots = f"supervisord's {program.name}", set(program.roots)
    why = _elsewhere(
        name, {candidate for candidate in procfs.pids() if roots.intersection(procfs.ancestors(candidate))}, ports
    )
    if program.file.rpartition("/")[2] == f"{site.app}.conf":
        why = f"{program.file} is where deploy would write its own: give that file another name"
    return {
        "unit": name,
        "ports": [],
        "enabled": True,
        "why": why,
        "program": program.wire,
        "stop": f"supervisorctl stop {program.name}:*",
        "start": supervisord_programs.way_back(program),
    }


def _why_not(unit: str, ports: list[int]) -> str:
    """What keeps a unit from being stopped for the app's sake: others would lose something by it."""
    name = unit.rpartition(".")[0].partition("@")[0]
    if name in _SHARED or name == "user":
        return f"{unit} runs or serves more than this app"
    if ".socket" in _systemctl("show", "--property", "TriggeredBy", "--value", unit).stdout:
        return f"{unit} is started by a socket unit, which would start it again"
    return _elsewhere(unit, {pid for pid in procfs.pids() if procfs.in_unit(pid, unit)}, ports)


def _elsewhere(name: str, pids: set[int], ports: list[int]) -> str:
    """Where these processes listen beside; empty when nowhere."""
    others = sorted({listener.port for listener in procfs.every_listener()} - set(ports))
    for listener in procfs.listeners(others):
        if pids & procfs.holders([listener.inode])[listener.inode]:
            return "%s also listens at port %d" % (name, listener.port)
    return ""


def _systemctl(*words: str, within: float = _SHORT) -> process_runner.Finished:
    return process_runner.run(["systemctl", *words], timeout=within)
