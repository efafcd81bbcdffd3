"""The `[Service]` section of an app's unit: ours, with the user's `unit:` options merged in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from deployer.agent.model.layout import COMMANDS, WITHIN, Site
from deployer.errors import SettingsError
from deployer.supervisors.base import ProcessSpec, ScheduleSpec, UnitSpec
from deployer.templating import oneline, sdpath, sdvalue

Option = tuple[str, str]

KILL_AFTER = 10
"""Seconds between the end of the graceful time and SIGKILL."""

STOP_RUN = 10
"""Seconds that a run of a schedule has between SIGTERM and SIGKILL, when its time is over."""
_SANDBOX: Sequence[Option] = (
    ("PrivateDevices", "true"),
    ("ProtectClock", "true"),
    ("ProtectHostname", "true"),
    ("ProtectKernelLogs", "true"),
    ("ProtectProc", "invisible"),
    ("RestrictNamespaces", "true"),
    # Netlink: by it libc learns the addresses of this host before it looks up a name.
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged"),
    # A call that is not allowed fails, and does not kill who tried it.
    ("SystemCallErrorNumber", "EPERM"),
)
"""What no web app needs. Left as they are, since some do: memory that is written and then executed (compilers at run
time), the network, other programs, and files that others may read (a balancer that serves uploads)."""

_NAME = re.compile(r"^[A-Za-z]+$")
_ADDS = {"Environment", "ReadWritePaths", "ReadOnlyPaths", "SupplementaryGroups", "AmbientCapabilities", "DeviceAllow"}
_OURS = {
    "ExecStart",
    "WorkingDirectory",
    "Type",
    "User",
    "Group",
    "KillMode",
    "KillSignal",
    "TimeoutStopSec",
    "Restart",
}


def own_options(spec: UnitSpec) -> list[Option]:
    """Return the default options of an instance's unit."""
    # gunicorn gives its socket to whom it is already, which counts as a call for the privileged.
    sockets = [("ReadWritePaths", sdvalue("-" + spec.sockets)), ("SystemCallFilter", "@chown")] if spec.sockets else []
    options = _options(
        spec.site,
        start='cd -P "slots/%i" && exec ./run',
        variables=["PORT=%i"],
        stop=spec.graceful + KILL_AFTER,
        identifier=f"{spec.site.app}@%i",
    )
    return options + sockets


def process_options(site: Site, process: ProcessSpec) -> list[Option]:
    """Return the default options of a process's unit.

    Only its command gets SIGTERM; its children are killed with it.
    """
    return _options(
        site,
        start=f'cd -P "processes/{process.name}@%i" && exec {start_words(process.name)}',
        variables=["DEPLOY_INSTANCE=%i", f"DEPLOY_PROCESS={process.name}"],
        stop=process.stop_timeout,
        identifier=f"{site.app}-{process.name}@%i",
    )


def schedule_options(site: Site, schedule: ScheduleSpec) -> list[Option]:
    """Return the same of a schedule: its runs come to an end, or are ended, and are not started again for that."""
    options = _options(
        site,
        start=f'cd -P "schedules/{schedule.name}" && exec {start_words(schedule.name)}',
        variables=[f"DEPLOY_SCHEDULE={schedule.name}"],
        stop=STOP_RUN,
        identifier=f"{site.app}-{schedule.name}",
    )
    # Until it has ended, a oneshot is starting: so that time bounds the run.
    other = {"Type": "oneshot", "TimeoutStartSec": f"{schedule.timeout:g}"}
    return [(name, other.get(name, value)) for name, value in options if name not in ("Restart", "RestartSec")]


def start_words(name: str) -> str:
    """Return what starts a process or a schedule, for sh in the folder of its release."""
    return f"/bin/sh {WITHIN} /bin/sh {COMMANDS}/{name}"


def _options(site: Site, *, start: str, variables: Sequence[str], stop: float, identifier: str) -> list[Option]:
    account = [("User", oneline(site.user)), ("Group", oneline(site.user))] if site.user else []
    return [
        ("Type", "exec"),
        *account,
        ("WorkingDirectory", sdpath(site.root)),
        *(("Environment", variable) for variable in variables),
        ("ExecStart", f"/bin/sh -c '{start}'"),
        ("KillMode", "mixed"),
        ("KillSignal", "SIGTERM"),
        ("TimeoutStartSec", "30"),
        ("TimeoutStopSec", f"{stop:g}"),
        ("Restart", "always"),
        ("RestartSec", "1"),
        ("SyslogIdentifier", identifier),
        ("LimitNOFILE", "65536"),
        ("NoNewPrivileges", "true"),
        ("PrivateTmp", "true"),
        ("ProtectSystem", "strict"),
        # Not `true`: an interpreter that uv installed may lie in a home folder.
        ("ProtectHome", "read-only"),
        ("ReadWritePaths", sdvalue("-" + site.shared)),
        ("ProtectControlGroups", "true"),
        ("ProtectKernelModules", "true"),
        ("ProtectKernelTunables", "true"),
        ("RestrictRealtime", "true"),
        ("RestrictSUIDSGID", "true"),
        ("LockPersonality", "true"),
        *_SANDBOX,
        # It starts as an account that has none; what it runs cannot gain any either.
        *([("CapabilityBoundingSet", "")] if site.user else []),
    ]


def merged(base_options: Sequence[Option], user_options: Mapping[str, str | int | bool]) -> list[Option]:
    """`base_options` with the user's options in it: the same name replaces, a list-like one adds.

    Capabilities that the user gives are in the bounding set too, without which they would be given in vain.

    Raises:
        SettingsError: a name is no option's, a value has more than one line, or a rollout depends on that option.
    """
    result = list(base_options)
    if "AmbientCapabilities" in user_options:
        user_options = {"CapabilityBoundingSet": user_options["AmbientCapabilities"], **user_options}
    for name, value in user_options.items():
        text = _checked(name, value)
        places = [index for index, (option_name, _) in enumerate(result) if option_name == name]
        if places and name not in _ADDS:
            result[places[0]] = (name, text)
            for index in reversed(places[1:]):
                del result[index]
        else:
            result.append((name, text))
    return result


_SIZE = r"(\d+(\.\d+)?\s*[KMGTPE]?|infinity)"
_SHARE = r"\d+(\.\d+)?%"
_FORMS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("MemoryMax", "MemoryHigh", "MemoryLow", "MemoryMin", "MemorySwapMax"), (f"{_SIZE}|{_SHARE}", "1G")
    ),
    "CPUQuota": (_SHARE, "150%"),
    "TasksMax": (rf"\d+|infinity|{_SHARE}", "512"),
    "CPUWeight": (r"\d+|idle", "100"),
    **dict.fromkeys(
        ("LimitNOFILE", "LimitNPROC", "LimitCORE", "LimitAS", "LimitDATA", "LimitSTACK", "LimitMEMLOCK", "LimitFSIZE"),
        (f"{_SIZE}(:{_SIZE})?", "8192"),
    ),
}
"""Limits that systemd would leave aside with a line in its journal, were they wrong: their form, and one of it."""


def _checked(name: str, value: str | int | bool) -> str:
    if not _NAME.match(name):
        raise SettingsError(
            f"unit: {name!r} is not a valid name of a systemd option", hint="such as MemoryMax or LimitNOFILE"
        )
    if name in _OURS:
        raise SettingsError(f"unit: {name} is set by the tool, since rollouts depend on it", hint="leave it out")
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        text = oneline(value).strip()
    except ValueError as error:
        raise SettingsError(f"unit: {name}", cause=str(error), hint="write it on one line") from error
    form, such = _FORMS.get(name, ("", ""))
    if form and not re.fullmatch(form, text):
        raise SettingsError(f"unit: {name}: {text!r} is not a valid systemd limit", hint=f"such as {name}: {such}")
    if text.endswith("\\"):
        raise SettingsError(f"unit: {name} ends in a backslash, which would swallow the next line")
    return text
