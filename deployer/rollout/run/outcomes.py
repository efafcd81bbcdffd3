"""How a run ends that did not go well: the error that tells how far it had come, and what to type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from deployer.errors import DeployError, InterruptedRun, LeftBehindError, NeedsPersonError, RolloutError, StoppedHalfWay
from deployer.plan.model import InstanceStep, Plan, ProcessStep
from deployer.remote.errors import AgentError, SessionLost
from deployer.rollout.run.record import Record

Failures = Mapping[InstanceStep, DeployError]
Stuck = Sequence[tuple[InstanceStep | ProcessStep, DeployError]]


@contextmanager
def translate_errors(kind: type[DeployError], hint: str = "") -> Iterator[None]:
    """Raises as `kind`, with the same facts, what hosts refuse in the block; `hint` is for what has none of its own.

    Faults of the program itself (`internal`) stay what they are.
    """
    try:
        yield
    except (AgentError, SessionLost) as error:
        if error.code == "internal":
            raise
        raise error.as_kind(kind, hint=hint) from error


def doctor_hint(env: str) -> str:
    """What to type when a host refuses and does not say what helps."""
    return f"deploy doctor {env} finds everything that is wrong"


def failure_of_run(cause: DeployError, stuck: Stuck, plan: Plan, record: Record) -> DeployError:
    """The error that a run ends with which was restored, as far as that could be.

    `stuck` are instances and processes that could not: one is enough for a person to be needed.
    """
    for step, _ in stuck:
        record.host(step.host, "failed")
    for step, error in stuck:
        others = [other.name for other, _ in stuck[1:]]
        return NeedsPersonError(
            _not_back(step, error) + (f" (nor {', '.join(others)})" if others else ""),
            host=error.host or step.host,
            step=error.step or "restore",
            cause=f"the run had failed with: {cause}",
            log=error.log or cause.log,
            hint=f"{_way_on(step, error, plan.env)}; deploy push {plan.env} --wait 5m then heals it",
        )
    if isinstance(cause, InterruptedRun):
        return InterruptedRun(cause.message, hint=f"deploy push {plan.env} starts over")
    ahead = [step.name for step in plan.kept if step.before == plan.release] if plan.steps else []
    stays = f", but for {', '.join(ahead)}, which had {plan.release} before this run" if ahead else ""
    return cause.as_kind(
        RolloutError, hint=f"mend it, then type deploy {{command}} {{env}}; everything was put back{stays}"
    )


def _not_back(step: InstanceStep | ProcessStep, error: DeployError) -> str:
    """What could not be brought back and why, with the host that it is the fault of where that is another one."""
    why = str(error.detail.get("undo") or error.message) if isinstance(error, AgentError) else error.message
    if error.host in (None, step.host):
        return f"{step.name} could not be brought back: {why}"
    if isinstance(error, SessionLost):
        return f"{step.name} could not be brought back, since {error.host} was lost: {why}"
    return f"{step.name} could not be brought back: {error.host}: {why}"


def _way_on(step: InstanceStep | ProcessStep, error: DeployError, env: str) -> str:
    """What comes before the push that heals it: a balancer that cannot be asked refuses every push until then."""
    return error.hint if error.code == "balancer_down" and error.hint else _seen_by(step, env)


def _seen_by(step: InstanceStep | ProcessStep, env: str) -> str:
    if isinstance(step, ProcessStep):
        return f"deploy logs {env} --process {step.process} -l {step.host} shows why"
    return f"deploy status {env} shows what serves"


def stopped_error(cause: DeployError, changed: Sequence[InstanceStep], stuck: Failures, plan: Plan) -> DeployError:
    """The error of a run that stops where it is, as `rolling.on_failure: stop` asks: nothing more is touched."""
    total = len(plan.steps) + len(plan.kept)
    there = len(changed) + len(plan.kept)
    state = f"{there} of {total} instances serve {plan.release}, the others what they served before"
    if stuck:
        state += f"; {', '.join(step.name for step in stuck)} could not be brought back"
    kind: type[DeployError] = NeedsPersonError
    if isinstance(cause, InterruptedRun):
        kind = StoppedHalfWay if changed or stuck else InterruptedRun
    return kind(
        cause.message,
        host=cause.host,
        step=cause.step,
        cause="; ".join(text for text in (cause.cause, f"stopped here, as rolling.on_failure is set: {state}") if text),
        log=cause.log,
        hint=f"deploy push {plan.env} goes on, deploy rollback {plan.env} goes back",
        code=cause.code,
    )


def require_a_success(changed: Sequence[InstanceStep], behind: Failures, plan: Plan) -> None:
    """The first failure, when not one instance came to the release: there is nothing to be made current."""
    if behind and not changed and not plan.kept:
        raise next(iter(behind.values()))


def require_nobody_behind(behind: Failures, plan: Plan, record: Record) -> None:
    """LeftBehindError (exit 8) that names the instances which did not come along, within the budget."""
    if not behind:
        return
    for step in behind:
        record.host(step.host, "failed")
    first, error = next(iter(behind.items()))
    names = ", ".join(step.name for step in behind)
    # Nothing was built where nobody could be reached.
    lacks = any(step.action == "keep" for step in behind)
    again = f"deploy push {plan.env}" if lacks else f"deploy push {plan.env} --release {plan.release}"
    raise LeftBehindError(
        f"{plan.release} serves, but {names} stayed behind",
        host=first.host,
        step=error.step,
        cause=f"{first.name}: {error}",
        log=error.log,
        hint=f"{again} brings them along once their hosts are mended",
    )
