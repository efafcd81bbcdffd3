"""One event of every kind, in the forms that look different."""

from __future__ import annotations

from deployer import events

TS = 1700000000.25


def serving(**instances: tuple[str | None, str | None]) -> dict[str, dict[str, str | None]]:
    """What served before the run and serves now, by instance."""
    return {name: {"before": before, "now": now} for name, (before, now) in instances.items()}


EVENTS: tuple[events.Event, ...] = (
    events.RunStarted("push", "shop", "prod", "me@here", ts=TS),
    events.PlanMade({"release": "R2"}, "release R2  (now: R1)\nwave 1 of 1: web1:0 (restart)", ts=TS),
    events.StepStarted("switch", host="web1", instance="web1:0", detail="R2", ts=TS),
    events.StepRunning("build", ("web1", "web2"), 20.0, ts=TS),
    events.StepFinished("switch", host="web1", instance="web1:0", detail="R2 proven", duration_s=2.34, ts=TS),
    events.StepFinished("drain", host="lb1", ok=False, detail="balancer_down", duration_s=31.0, ts=TS),
    events.StepFinished("lock", duration_s=0.04, ts=TS),
    events.WaveStarted(1, 3, ("web1:0", "web2:0"), "R2", ts=TS),
    events.WaveStarted(1, 1, ("web1:0",), "R1", restoring=True, ts=TS),
    events.WaveFinished(1, 3, True, 4.5, ts=TS),
    events.WaveJudged(("web1:0",), True, False, "meanwhile", "", {}, {}, {}, ts=TS),
    events.Output("Running upgrade -> 3f2a [ok] :smile:", host="web1", step="release hook", ts=TS),
    events.Output("Collecting fastapi", host="web1", step="build", ts=TS),
    events.Output("", step="build hook", ts=TS),
    events.Text("20240601T000000Z-bbbbbbbb  current", ts=TS),
    events.Warned("it was left drained", host="lb1", hint="deploy status prod", ts=TS),
    events.Warned("there is no balancer", ts=TS),
    events.CheckFinished("test_port[8000]", "web1", "passed", ts=TS),
    events.CheckFinished("test_port[8000]", "web1", "failed", "AssertionError: not listening", ts=TS),
    events.CheckFinished("test_unit", "web1", "skipped", "no systemd", ts=TS),
    events.RunFinished("succeeded", 0, "R2", "R1", 65.4, ts=TS),
    events.RunFinished("unchanged", 0, "R2", "R2", 1.2, ts=TS),
    events.RunFinished("rolled_back", 5, "R2", "R1", 200.0, serving=serving(a=("R1", "R1"), b=("R1", "R1")), ts=TS),
    events.RunFinished("rolled_back", 5, "R2", "R1", 9.0, serving=serving(a=(None, None), b=(None, None)), ts=TS),
    events.RunFinished("rolled_back", 5, "R2", "R1", 9.0, serving=serving(a=("R1", "R1"), b=(None, None)), ts=TS),
    events.RunFinished("failed", 6, "R2", "R1", 9.0, serving=serving(a=("R1", None), b=("R1", "R2")), ts=TS),
    events.RunFinished("rolled_back", 5, "R2", "R1", 9.0, serving={}, ts=TS),
    events.RunFinished("rolled_back", 5, "R2", "R1", 9.0, ts=TS),
    events.RunFinished("refused", 4, None, None, 0.3, ts=TS),
    events.RunFinished("interrupted", 130, "R2", "R1", 12.0, ts=TS),
    events.RunFinished("interrupted", 130, "R2", "R1", 12.0, serving=serving(a=("R1", "R1")), ts=TS),
)
