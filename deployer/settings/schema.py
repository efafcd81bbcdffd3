"""The JSON Schema of `deploy.yaml`, for editors."""

from __future__ import annotations

from typing import Any

from deployer.settings.models import Settings
from deployer.settings.reference import REFERENCE


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `deploy.yaml`, with the meaning of every key. Overlays may also say null."""
    document = Settings.model_json_schema(by_alias=True)
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "deploy.yaml"
    for dotted, (words, example) in REFERENCE.items():
        _describe(document, document, dotted.split("."), f"{words}, such as {example}")
    return document


def _describe(root: dict[str, Any], node: dict[str, Any], path: list[str], words: str) -> None:
    step, rest = path[0], path[1:]
    below = node.get("additionalProperties") if step == "*" else node.get("properties", {}).get(step)
    if not isinstance(below, dict):
        return
    if not rest:
        below.setdefault("description", words)
        return
    for choice in (below, *below.get("anyOf", ())):
        reference = choice.get("$ref", "").rpartition("/")[2]
        _describe(root, root["$defs"][reference] if reference else choice, rest, words)
