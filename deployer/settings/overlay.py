"""`deploy.<env>.yaml` over `deploy.yaml`: maps merge, lists replace, `null` removes."""

from __future__ import annotations

from typing import Any

from deployer.settings.yaml.document import Document, KeyPath, Mark


def merge(base: Document, over: Document) -> Document:
    """Return both documents' data as one; every value keeps the place where it was written last."""
    marks = {path: mark for path, mark in base.marks.items() if not _replaced(path, over.data)}
    return Document(base.file, _merged(base.data, over.data), marks | _without_root(over.marks))


def without_nulls(data: Any, path: KeyPath = ()) -> Any:
    """`data` without keys left empty (`runtime:`), which mean the default.

    In `env` maps they stay: an empty variable is text, and forgetting the quotes must be an error.
    """
    if not isinstance(data, dict):
        return data
    keep = bool(path) and path[-1] == "env"
    return {key: without_nulls(value, (*path, key)) for key, value in data.items() if value is not None or keep}


def _merged(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(base.get(key, {} if isinstance(value, dict) else None), value)
    return merged


def _replaced(path: KeyPath, over: Any) -> bool:
    """Return whether the overlay puts something other than a map at, or above, `path`."""
    for step in path:
        if not isinstance(over, dict):
            return True
        if step not in over:
            return False
        over = over[step]
    return False


def _without_root(marks: dict[KeyPath, Mark]) -> dict[KeyPath, Mark]:
    return {path: mark for path, mark in marks.items() if path}
