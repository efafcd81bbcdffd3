"""How long a request may take before it is given up, whatever the agent's heartbeats say (docs/protocol.md).

An agent bounds every wait of its own, mostly by durations in the request. So a request gets a base, plus three times
the durations in its arguments: the step itself, its way back, and what the supervisor or balancer adds to both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BASE_S = 300.0
LONG_BASE_S = 7200.0
_LONG = frozenset({"adopting.retire", "release.build", "resource.apply", "resource.restore", "venv.resolve"})
"""Operations of many steps (packages, builds, units): each step has its own limit, up to half an hour."""
_FACTOR = 3
_DEFAULT_TIMEOUTS_S = {"command.run": 3600.0, "hook.release": 600.0}
"""What the agent takes where `timeout` is not in the arguments."""
_DURATIONS = frozenset({"timeout", "wait", "within", "patience", "graceful", "steady", "bound"})


def deadline_s(operation: str, args: Mapping[str, Any]) -> float:
    """Return seconds within which the agent must have answered a request that nothing else holds up."""
    base = LONG_BASE_S if operation in _LONG else BASE_S
    durations = _total(args) or _DEFAULT_TIMEOUTS_S.get(operation, 0.0)
    servers = args.get("servers")
    one_by_one = len(servers) if isinstance(servers, list | tuple | dict) else 1
    return base + _FACTOR * durations * max(1, one_by_one)


def _total(value: Any) -> float:
    """Return the sum of all durations in arguments, at any depth; switches of one host may be one after the other."""
    if isinstance(value, Mapping):
        return sum(
            float(item) if key in _DURATIONS and _is_number(item) else _total(item) for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return sum(map(_total, value))
    return 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
