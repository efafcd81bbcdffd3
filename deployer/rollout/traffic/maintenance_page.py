"""Whether users get the page of maintenance instead of the app, as the balancers have it on record."""

from __future__ import annotations

from deployer.agent.model.messages.balancer import MAINTENANCE, MaintenanceRecord
from deployer.rollout.run.run import Run
from deployer.rollout.timestamps import format_utc


def closed(run: Run) -> dict[str, MaintenanceRecord]:
    """Balancer → the record of its maintenance, where there is one."""
    answers = run.run_on_hosts(run.balancers, MAINTENANCE, run.on_site, step="maintenance")
    return {host: page for host, answer in answers.items() if (page := answer["maintenance"])}


def maintenance_text(record: MaintenanceRecord) -> str:
    """A record as a line."""
    return f"maintenance since {format_utc(record['since'])} UTC by {record['who']}: {record['reason']}: users get 503"
