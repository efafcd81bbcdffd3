"""Values of YAML on one line, as `deploy init` writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def flow(value: Any) -> str:
    """A value of YAML on one line; text in quotes where it is more than plain words."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./+ -]*(:[A-Za-z0-9_.]+)?", value):
        return value
    return json.dumps(value, ensure_ascii=False)
