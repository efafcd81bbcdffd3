"""The commands whose answer is data, and the JSON Schema of it: those that look, and `prune`."""

from __future__ import annotations

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


def answer_schema(command: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the answer of a command."""
    schema = ANSWERS[command].model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"deploy {command}"}
