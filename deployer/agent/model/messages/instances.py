"""Messages of instances, processes and schedules."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.supervision import Instance, Process, Schedule
from deployer.agent.model.typed import Amount, Count, NotRequired, Operation, PortText, TypedDict, Wire


class ReloadInPlace(TypedDict):
    """`check`: words for the release's `run` that load the app on trial. `or_restart`: a restart will do as well."""

    check: NotRequired[list[str]]
    or_restart: NotRequired[bool]


class SwitchInstance(OnSite):
    """`previous` null: the slot was not in use. `via`: `push`, `rollback`, `restore` or `reload`.

    `reload`: in place by SIGHUP; null: by a restart.
    """

    run: str
    instance: Wire[Instance]
    release: str
    previous: NotRequired[str | None]
    via: NotRequired[str]
    reload: NotRequired[ReloadInPlace | None]


class InstanceSwitched(TypedDict):
    """`pids` hold the port. `changed` false: it was proven already and nothing was touched."""

    pids: list[int]
    seconds: Amount
    changed: bool


class ProveInstances(OnSite):
    """`release` null: the one that the slot points at. `started_after`: seconds of the host's boot-time clock.

    `patience`: seconds for a health check that waits behind others. `measure`: also memory and age.
    """

    instances: list[Wire[Instance]]
    release: NotRequired[str | None]
    started_after: NotRequired[Amount | None]
    patience: NotRequired[Amount]
    measure: NotRequired[bool]


class SlotState(TypedDict):
    """What one slot serves. `memory`: bytes of its processes, the oldest of which has lived for `age` seconds.

    `unseen`: this user may not look at its processes, so it may well serve.
    """

    proven: bool
    why: str
    pids: list[int]
    release: str | None
    unseen: bool
    instance: int
    memory: NotRequired[Count]
    age: NotRequired[Amount]


class InstancesProven(TypedDict):
    """By the port of each instance."""

    slots: dict[PortText, SlotState]


class StopInstance(OnSite):
    """Its slot is emptied."""

    run: str
    instance: Wire[Instance]


class Stopped(TypedDict):
    """`stopped` false: there was nothing to stop."""

    stopped: bool


class SwitchProcess(OnSite):
    """`via`: `push`, `rollback`, `restore`, or `reload`: also where it runs that release already."""

    run: str
    process: Wire[Process]
    release: str
    via: NotRequired[str]


class ProcessSwitched(TypedDict):
    """`pid` 0: that release has no such process, and it was stopped."""

    pid: int
    seconds: Amount
    changed: bool


class StopProcess(OnSite):
    """Its link goes too."""

    run: str
    process: Wire[Process]


class LookAtProcesses(OnSite):
    """The processes to look at."""

    processes: list[Wire[Process]]


class ProcessState(TypedDict):
    """`release` is what its link names; `running`: its main process lives in that, else `why` says what does not."""

    release: str | None
    running: bool
    pid: int | None
    why: str


class ProcessStates(TypedDict):
    """By label: `worker@1`."""

    processes: dict[str, ProcessState]


class SwitchSchedule(OnSite):
    """What it runs at this moment is left alone."""

    run: str
    schedule: Wire[Schedule]
    release: str


class ScheduleSwitched(TypedDict):
    """`armed` false: that release has no such schedule, and it is off."""

    changed: bool
    armed: bool


class StopSchedule(OnSite):
    """`wait`: seconds for the run that is under way."""

    run: str
    schedule: Wire[Schedule]
    wait: NotRequired[Amount]


class ScheduleStopped(TypedDict):
    """`pid` of a run that has not ended yet; 0: none."""

    stopped: bool
    pid: int


class LookAtSchedules(OnSite):
    """The schedules to look at."""

    schedules: list[Wire[Schedule]]


class ScheduleState(TypedDict):
    """`why`: what keeps it from being run in the release of its link. `next`, `began`, `ended`: seconds since the
    epoch.

    Null: not known, or there is none.
    """

    release: str | None
    why: str
    pid: Count | None
    next: Count | None
    began: Count | None
    ended: Count | None
    result: str | None


class ScheduleStates(TypedDict):
    """By name."""

    schedules: dict[str, ScheduleState]


def _ports(request: ProveInstances) -> list[str]:
    return [str(instance["port"]) for instance in request["instances"]]


def _labels(request: LookAtProcesses) -> list[str]:
    return [f"{process['name']}@{process['number']}" for process in request["processes"]]


def _names(request: LookAtSchedules) -> list[str]:
    return [str(schedule["name"]) for schedule in request["schedules"]]


SWITCH = Operation("instance.switch", SwitchInstance, InstanceSwitched)
PROVE = Operation("instance.prove", ProveInstances, InstancesProven, ("slots", _ports))
STOP = Operation("instance.stop", StopInstance, Stopped)
SWITCH_PROCESS = Operation("processes.switch", SwitchProcess, ProcessSwitched)
STOP_PROCESS = Operation("processes.stop", StopProcess, Stopped)
PROCESSES = Operation("processes.state", LookAtProcesses, ProcessStates, ("processes", _labels))
SWITCH_SCHEDULE = Operation("schedules.switch", SwitchSchedule, ScheduleSwitched)
STOP_SCHEDULE = Operation("schedules.stop", StopSchedule, ScheduleStopped)
SCHEDULES = Operation("schedules.state", LookAtSchedules, ScheduleStates, ("schedules", _names))
