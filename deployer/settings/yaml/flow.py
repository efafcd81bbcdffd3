"""Values of YAML on one line, as `deploy init` writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+ -]*(:[A-Za-z0-9_.]+)?|\d+(\.\d+)?(ms|[smhx%KMGT])")
_NO_TEXT = re.compile(r"true|false|null|\.(inf|nan|\d.*)", re.IGNORECASE)
"""What YAML reads as something else."""


def flow(value: Any) -> str:
    """Return a value of YAML on one line; text in quotes where it is more than plain words."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _NO_TEXT.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
