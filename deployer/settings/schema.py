"""The JSON Schema of `deploy.yaml`, for editors."""

from __future__ import annotations

from typing import Any

from deployer.settings.models import Settings


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `deploy.yaml`, with the meaning of every key. Overlays may also have null."""
    document = Settings.model_json_schema(by_alias=True)
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "deploy.yaml"
    return document
