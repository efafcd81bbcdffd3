"""The base of what commands that look answer as data: `data` of the closing event with `--output json`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Data(BaseModel):
    """Plain, frozen data with a JSON Schema. The docstrings of the fields describe them there."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
