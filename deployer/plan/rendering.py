"""A plan as a person reads it."""

from __future__ import annotations

from deployer.agent.model.shell import first_line
from deployer.plan.model import Plan
from deployer.plan.rolling import processes, schedules
from deployer.plan.rolling.adopting import FRONT, UNIT


def render_plan(plan: Plan, *, diffs: bool = False) -> str:
    """Return the plan in lines. `diffs` adds the unified diff of every file that would change."""
    if plan.empty:
        lines = [f"nothing to do: {plan.env} runs {plan.release}"]
        return "\n".join(lines + _inferred(plan) + _warnings(plan))
    lines = [f"release {plan.release}" + (f"  (now: {plan.previous})" if plan.previous else "  (the first)")]
    if plan.source:
        lines.append(f"  from {plan.source}")
    if plan.why:
        lines.append(f"  because {plan.why}")
    lines += _inferred(plan)
    if plan.builds:
        lines.append(f"build on {', '.join(plan.builds)}")
    lines += [f"rebuild the virtualenv of {repair.release} on {repair.host}: {repair.why}" for repair in plan.repairs]
    for change in (change for change in plan.changes if change.kind not in (FRONT, UNIT)):
        lines.append(f"{change.action} {change.kind} {change.name} on {change.host}")
        if diffs and change.diff:
            lines.extend(f"    {line}" for line in change.diff.splitlines())
    if plan.secrets_changed:
        lines.append(f"write the secrets on {', '.join(plan.secrets_changed)}")
    lines += [f"hook {moment}: {first_line(command)}" for moment, command in plan.hooks.items()]
    lines += processes.lines_of(plan.processes)
    lines.append(f"strategy {plan.strategy}: {plan.strategy_why}")
    for number, wave in enumerate(plan.waves, 1):
        steps = ", ".join(f"{step.name} ({step.action})" for step in wave)
        lines.append(f"wave {number} of {len(plan.waves)}: {steps}")
    if plan.judged:
        lines.append(f"judge: {plan.judged}")
    for step in plan.surplus:
        lines.append(f"stop {step.host} port {step.leaves}, which the settings no longer have ({step.before})")
    if plan.promotes and not plan.waves:
        lines.append(f"make it current on {', '.join(plan.promotes)}, where an earlier run did not come to that")
    for change in (change for change in plan.changes if change.kind in (FRONT, UNIT)):
        lines.append(f"then {change.action} {change.kind} {change.name} on {change.host}")
        lines.extend(f"    {line}" for line in change.diff.splitlines())
    lines += schedules.lines_of(plan.schedules)
    if plan.kept:
        lines.append(f"unchanged: {', '.join(step.name for step in plan.kept)}")
    return "\n".join(lines + _warnings(plan))


def _inferred(plan: Plan) -> list[str]:
    return [f"  {item.what}: {item.value}  ({item.why})" for item in plan.inferred]


def _warnings(plan: Plan) -> list[str]:
    return [f"! {warning}" for warning in plan.warnings]
