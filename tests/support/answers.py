"""The closing events of real runs, held against the schemas in docs/reference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference"


def require_described(command: str, closing: Mapping[str, Any]) -> None:
    """Asserts that `data` of a command's closing event is as its schema says.

    A command that has a schema may only lack data when it failed; one that has none may not have any.
    """
    data, validator = closing.get("data"), _validator(command)
    if validator is None:
        assert data is None, f"no schema in docs/reference describes what {command} answers: {data}"
        return
    assert data is not None or closing["exit_status"], f"{command} answers nothing: {closing}"
    if data is not None:
        wrong = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)]
        assert wrong == [], f"docs/reference/{command}.schema.json does not describe what {command} answers"


@cache
def _validator(command: str) -> Draft202012Validator | None:
    path = _REFERENCE / f"{command}.schema.json"
    if not path.exists():
        return None
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)
