"""What the agent declares of each operation: the form of its requests, and the codes of its errors (its docstring)."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from deployer.agent.model.layout import Site
from deployer.agent.model.shape import shape_of
from deployer.agent.operation import find
from deployer.remote.messages.responses import OPERATIONS

GENERAL = frozenset(
    {
        *("no_space", "read_only", "disk_error", "path_blocked", "not_permitted"),  # by the host's file system
        *("internal", "cancelled", "lease_lost", "host_busy", "not_set_up", "not_ours", "unknown_operation"),
    }
)
"""The codes that the session, or a shared part of the agent, may answer with."""
_SITE = asdict(Site("shop", "prod", "/srv/shop"))  # for a test that has none in its request


def require_declared_request(operation: str, args: Mapping[str, Any]) -> None:
    """AssertionError for a request that agents do not know, of another form, or with an argument that nothing reads."""
    assert operation in OPERATIONS, f"agents have no {operation}"
    request = OPERATIONS[operation].request
    wrong = shape_of(request)(json.loads(json.dumps({"site": _SITE, **args})), "")
    assert not wrong, f"the request for {operation}: {wrong}"
    unknown = set(args) - {"site"} - {key for cls in request.__mro__ for key in vars(cls).get("__annotations__", {})}
    assert not unknown, f"{operation} takes no {', '.join(sorted(unknown))}"


def require_declared_error(operation: str, code: str) -> None:
    """AssertionError for an error that an agent does not answer to that operation."""
    known = errors_of(operation) | GENERAL
    assert code in known, f"{operation} does not answer {code}, but one of {', '.join(sorted(known))}"


@cache
def errors_of(operation: str) -> frozenset[str]:
    """The codes that the docstring of an operation names."""
    _, _, errors = (inspect.getdoc(inspect.unwrap(find(operation))) or "").partition("Raises:")
    return frozenset(re.findall(r"`([a-z_]+)`", errors))
