"""One value in a user's settings file, changed and nothing else: comments, order and spacing stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, ScalarNode

from deployer.errors import SettingsError
from deployer.settings.yaml.document import parse_document


def set_value(text: str, path: tuple[str, ...], value: str | int, shown: str) -> str:
    """`text`, a YAML map of settings, in which the key at `path` has `value`; the same text where it has it already.

    A key that is there keeps its place and its comment; one that is not is added where its map begins, or at the end of
    the file.

    Args:
        path: one or two keys, such as `("runtime", "workers")`.
        shown: the file's name in errors.

    Raises:
        SettingsError: the text is no settings file, or the key cannot be written there without touching more.
    """
    before = parse_document(text, shown, SettingsError).data or {}
    settings = _with(before, path, value)
    if settings == before:
        return text
    edited_text = _changed(text, YAML(typ="safe", pure=True).compose(text), path, value)
    if edited_text is None or not _says(edited_text, settings):
        name = ".".join(path)
        raise SettingsError(f"{name} cannot be changed there", file=shown, hint=f"write {name}: {value} yourself")
    return edited_text


def _says(text: str, settings: Mapping[str, Any]) -> bool:
    try:
        return bool(parse_document(text, "", SettingsError).data == settings)
    except SettingsError:
        return False


def _with(data: Mapping[str, Any], path: tuple[str, ...], value: str | int) -> dict[str, Any]:
    first, *rest = path
    return {**data, first: _with(data.get(first) or {}, tuple(rest), value) if rest else value}


def _changed(text: str, node: Any, path: tuple[str, ...], value: str | int) -> str | None:
    """Return the text with the key set below `node`; None where that is not possible."""
    if node is None:
        return _appended(text, path, value)
    if not isinstance(node, MappingNode):
        return None
    at, child_node = next(((key, child) for key, child in node.value if key.value == path[0]), (None, None))
    if at is None:
        return _added(text, node, path, value)
    if len(path) > 1 and isinstance(child_node, MappingNode):
        return _changed(text, child_node, path[1:], value)
    if not isinstance(child_node, ScalarNode):
        return None
    new = str(value) if len(path) == 1 else _flow(path[1:], value)
    start, end = int(child_node.start_mark.index), int(child_node.end_mark.index)
    if start == end:  # a key without a value, whose place is said to be elsewhere
        start = end = text.index(":", int(at.end_mark.index)) + 1
        new = " " + new
    return text[:start] + new + text[end:]


def _added(text: str, node: MappingNode, path: tuple[str, ...], value: str | int) -> str:
    pair = f"{path[0]}: {value}" if len(path) == 1 else f"{path[0]}: {_flow(path[1:], value)}"
    start = int(node.start_mark.index)
    if node.flow_style:
        return text[: start + 1] + pair + (", " if node.value else "") + text[start + 1 :]
    if node.start_mark.column == 0:
        return _appended(text, path, value)
    return text[:start] + pair + "\n" + " " * int(node.start_mark.column) + text[start:]


def _appended(text: str, path: tuple[str, ...], value: str | int) -> str:
    pair = f"{path[0]}: {value}" if len(path) == 1 else f"{path[0]}: {_flow(path[1:], value)}"
    return text + ("" if not text or text.endswith("\n") else "\n") + pair + "\n"


def _flow(path: tuple[str, ...], value: str | int) -> str:
    """`{workers: 4}`."""
    inner = str(value)
    for key in reversed(path):
        inner = f"{{{key}: {inner}}}"
    return inner
