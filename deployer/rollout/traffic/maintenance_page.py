"""Whether users get the page of maintenance instead of the app, as the balancers have it on record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.rollout.run.run import Run
from deployer.rollout.timestamps import format_utc


def closed(run: Run) -> dict[str, dict[str, Any]]:
    """Balancer → the record of its maintenance, where there is one."""
    answers = run.run_on_hosts(run.balancers, "maintenance.state", {}, step="maintenance")
    return {host: answer["maintenance"] for host, answer in answers.items() if answer["maintenance"]}


def maintenance_text(record: Mapping[str, Any]) -> str:
    """A record as a line."""
    return f"maintenance since {format_utc(record['since'])} UTC by {record['who']}: {record['reason']}: users get 503"
