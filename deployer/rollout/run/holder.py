"""Who holds the lock of an app and environment, in words."""

from __future__ import annotations

import time

from deployer.agent.model.messages.lock import Holder
from deployer.rollout.timestamps import format_duration


def holder_text(holder: Holder) -> str:
    """`ana@ci (push since 10:28:03, run R)`; also why it does not end, if its controller is gone or its agent stopped.

    Times are of this machine's zone. `holder` is as `lock.take` and `host.survey` report it.
    """
    who = holder.get("who")
    if not who:
        return "an unknown holder"
    command = f"{holder['command']} " if holder.get("command") else ""
    text = f"{who} ({command}since {clock_time(holder.get('since'))}, run {holder.get('run')})"
    silence = holder.get("silent")
    if silence:
        silent = format_duration(silence)
        return f"{text}: its agent, process {holder.get('pid')}, has shown no sign of life for {silent}; it is stopped"
    if not holder.get("lost"):
        return text
    until = holder.get("until") or 0.0
    if until >= time.time():
        return f"{text}: its controller is gone; the host winds up by {clock_time(until)}"
    return f"{text}: its controller is gone; the host was to wind up by {clock_time(until)} and still works"


def is_stuck(holder: Holder) -> bool:
    """Whether the agent that holds the lock is stopped or frozen: nothing goes on there, and nothing ends by itself."""
    return bool(holder.get("silent"))


def clock_time(moment: float | None) -> str:
    """`10:31:05` today, `2026-11-29 10:31:05` on another day, in this machine's zone."""
    there = time.localtime(moment or 0)
    today = time.localtime()[:3] == there[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", there)


def latest_end(holders: list[Holder]) -> Holder | None:
    """Of several hosts' holders the one that keeps the lock longest; None when there is none."""
    return max(holders, key=lambda holder: holder.get("until") or 0.0, default=None)
