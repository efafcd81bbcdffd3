"""The commands whose answer is data, and the JSON Schema of it: those that look, and `prune`."""

from __future__ import annotations

import json
from typing import Any

from deployer.rollout.data import Data
from deployer.rollout.delivery.prune import Pruned
from deployer.rollout.queries.doctor import Diagnosis
from deployer.rollout.queries.history import History
from deployer.rollout.queries.hosts import Hosts
from deployer.rollout.queries.plan import PlanAnswer
from deployer.rollout.queries.releases import Releases
from deployer.rollout.queries.status_data import Status
from deployer.rollout.queries.verify import Verified
from deployer.rollout.run.record import Record
from deployer.settings.schema import schema as settings_schema

ANSWERS: dict[str, type[Data]] = {
    "status": Status,
    "releases": Releases,
    "history": History,
    "hosts": Hosts,
    "plan": PlanAnswer,
    "doctor": Diagnosis,
    "verify": Verified,
    "prune": Pruned,
}
"""Command → the model of `data` in its closing event with `--output json`."""


def show_schema(record: Record, command: str | None) -> str:
    """The JSON Schema of `deploy.yaml`, or of what `command` answers, as indented text, and as the record's data."""
    record.data = settings_schema() if command is None else answer_schema(command)
    return json.dumps(record.data, indent=2)


def answer_schema(command: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the answer of a command."""
    schema = ANSWERS[command].model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"deploy {command}"}
