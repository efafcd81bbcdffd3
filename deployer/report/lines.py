"""An event as one line of text, the same for the plain log and the rich view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployer import events
from deployer.errors import DeployError
from deployer.report.printable import printable

SHOWN_FAILURES = 10
PLACE_WIDTH, STEP_WIDTH = 16, 12

QUIET = ("build", "resolve", "ship")
"""Steps whose commands (installers) are only shown when they fail, in the error's log."""


UNREMARKED = ("connect", "source")
"""Steps whose end has no line: only signs of life show them, where they take long."""


def seconds(value: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{int(value) // 60} min {int(value) % 60:02d} s"


def place(host: str, instance: str = "") -> str:
    """Return where something happens, as a column: the instance, the host, or `here`."""
    return instance or host or "here"


def width_of(event: events.RunStarted) -> int:
    """Return how wide the column of hosts and instances is in a run: as its longest name, with room for `:0`."""
    return max(PLACE_WIDTH, *(len(host) + 2 for host in event.hosts)) if event.hosts else PLACE_WIDTH


def line_of(event: events.Event, width: int = PLACE_WIDTH) -> str | None:
    """Return one line for a person, or None where an event needs no line of its own.

    `width` is that of the column of hosts and instances. Control characters that hosts printed have no effect.
    """
    line = _line_of(event, width)
    return None if line is None else printable(line)


def _line_of(event: events.Event, width: int) -> str | None:
    match event:
        case events.RunStarted():
            return f"{event.command} {event.app} → {event.env}"
        case events.PlanMade():
            return event.text
        case events.WaveStarted():
            word = "restoring" if event.restoring else "wave"
            return f"{word} {event.number} of {event.of}: {', '.join(event.instances)} → {event.release}"
        case events.StepFinished() if event.step not in UNREMARKED:
            mark = "✓" if event.ok else "✗"
            detail = f"  {event.detail}" if event.detail else ""
            where = f"{place(event.host, event.instance):<{width}} {event.step:<{STEP_WIDTH}}"
            return f"{mark} {where} {seconds(event.duration_s)}{detail}"
        case events.StepRunning():
            where = f" on {_some(event.places)}" if event.places else ""
            return f"… {event.step}{where}, {seconds(event.elapsed_s)} so far"
        case events.Output() if event.step not in QUIET:
            return f"  {place(event.host):<{width}} │ {event.line}"
        case events.Text():
            return f"  {place(event.host):<{width}} │ {event.line}"
        case events.Warned():
            hint = f" ({event.hint})" if event.hint else ""
            return f"! {event.host + ': ' if event.host else ''}{event.message}{hint}"
        case events.CheckFinished() if event.outcome == "failed":
            return f"✗ {event.host:<{width}} {'check':<{STEP_WIDTH}} {event.check}: {' '.join(event.detail.split())}"
        case events.RunFinished() if not event.silent:
            return "\n".join([*receipt(event.probe), finished(event)])
    return None


def receipt(probe: Mapping[str, Any] | None) -> list[str]:
    """Return what the probe beside the run saw, and each failure with what was changing at that moment."""
    if probe is None:
        return []
    counts = f"{probe['requests']} requests, {probe['failed']} failed, {probe['stale']} stale"
    times = f"p50 {probe['p50_ms']:.0f} ms, p99 {probe['p99_ms']:.0f} ms, max {probe['max_ms']:.0f} ms"
    failures = [
        f"✗ {failure['at']} {failure['kind']}: {failure['what']}  ({', '.join(failure['during']) or 'nothing changed'})"
        for failure in probe["failures"][:SHOWN_FAILURES]
    ]
    return [f"probe: {counts}, {times}", *failures]


def finished(event: events.RunFinished) -> str:
    """Return the closing line of a run."""
    text = event.outcome.replace("_", " ")
    if event.outcome == "rolled_back" or event.serving is not None:
        return f"{text}: {what_serves(event)} (after {seconds(event.duration_s)})"
    if event.release and event.outcome not in ("refused", "failed", "interrupted"):
        text += f": {event.release}"
    if event.previous and event.previous != event.release and event.outcome == "succeeded":
        text += f" (before: {event.previous})"
    return f"{text} in {seconds(event.duration_s)}"


def what_serves(event: events.RunFinished) -> str:
    """Return what serves after a run that failed, as it was seen, beside what served before it."""
    if event.serving is None:
        return "nothing that serves was touched"
    if not event.serving:
        return "the release that serves is unknown"
    groups: dict[tuple[str, str], list[str]] = {}
    for name, release in event.serving.items():
        change = _change(release["before"], release["now"])
        groups.setdefault((change, release.get("unknown") or ""), []).append(name)
    if list(groups) == [(_NOTHING, "")]:
        return "no release serves, as before"
    if len(groups) == 1:
        (words, why), *_ = groups
        return words.format(where="") + (f": {why}" if why else "")
    known_first = sorted(groups, key=lambda group: group[0] == _UNSEEN)
    parts = [
        words.format(where=f" on {_some(groups[words, why])}") + (f" ({why})" if why else "")
        for words, why in known_first
    ]
    return ", ".join(parts)


def _some(names: Sequence[str]) -> str:
    further = len(names) - SHOWN_FAILURES
    shown = ", ".join(names[:SHOWN_FAILURES])
    return f"{shown} and {further} more" if further > 0 else shown


_UNSEEN = "the release that serves{where} is unknown"
_NOTHING = "nothing serves{where}, as before"


def _change(before: str | None, now: str | None) -> str:
    if before is None and now is None:
        return _NOTHING
    if now == events.UNKNOWN:
        return _UNSEEN
    if now is None:
        return "nothing serves{where} any more"
    return now + (" serves{where} as before" if before == now else " serves{where} now")


def error_block(error: DeployError, *, log_is_shown: bool = False) -> str:
    """Return the whole of an error: what, where, why, the last log lines, what to type next.

    `log_is_shown`: a person has read those lines already, as they came.
    """
    lines = [f"error: {error.message}"]
    if error.where:
        lines.append(f"  where: {error.where}")
    if error.cause:
        lines.append(f"  why:   {error.cause}")
    if error.log and not log_is_shown:
        lines.append(f"  {error.log_label}:")
        lines.extend(f"    │ {line}" for line in error.log)
    if error.hint:
        lines.append(f"  next:  {error.hint}")
    return printable("\n".join(lines))
