"""Operations that a test calls directly are held against their messages: the request as the test sends it, the response
as it crosses the channel."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from deployer.agent import operation
from deployer.agent.model.shape import shape_of
from deployer.agent.model.typed import Operation

_register = operation.operation


def _held_against_its_messages(spec: Operation[Any, Any], longest: Any = None) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        @functools.wraps(function)
        def call(ctx: operation.Context, request: Any) -> Any:
            wrong = shape_of(spec.request)(json.loads(json.dumps(request)), "")
            assert not wrong, f"the request for {spec.name}: {wrong}"
            response = function(ctx, request)
            wrong = shape_of(spec.response)(json.loads(json.dumps(response)), "")
            assert not wrong, f"the response of {spec.name}: {wrong}"
            return response

        return _register(spec, longest)(call)

    return register


operation.operation = _held_against_its_messages
