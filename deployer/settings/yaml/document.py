"""One YAML file as plain data in which every value still knows its file and line.

The file is composed into nodes by ruamel.yaml and built here, because the usual constructors lose what the errors need:
positions, duplicate keys, and how a scalar was written (`3.10` is not `3.1`). Scalars follow YAML 1.2: `on`, `off`,
`yes` and `no` are text; a model's boolean takes them as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from deployer.errors import UsageError

KeyPath = tuple[str | int, ...]
_STANDARD = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    form: value
    for word, value in (("yes", True), ("on", True), ("no", False), ("off", False))
    for form in (word, word.capitalize(), word.upper())
}
_MOST_NODES = 100_000


@dataclass(frozen=True)
class Mark:
    """A place in a user's file; `line` counts from 1."""

    file: str
    line: int


class WrittenFloat(float):
    """A float that remembers its `text` in the file: `3.10`."""

    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        made = super().__new__(cls, text)
        made.text = text
        return made


@dataclass(frozen=True)
class Opaque:
    """A value that only another tool can read (`!vault`): carried along, refused where it would be used."""

    tag: str


@dataclass(frozen=True)
class Document:
    """A file's data: maps with text keys, lists, scalars. `marks` has the place of every key path below it."""

    file: str
    data: Any
    marks: dict[KeyPath, Mark]

    def mark(self, *path: str | int) -> Mark:
        """Return where `path` is written, or the nearest place above it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.marks:
                return self.marks[path[:length]]
        return Mark(self.file, 1)


class _Builder:
    def __init__(self, file: str, error: type[UsageError], ansible: bool) -> None:
        self.file = file
        self.error = error
        self.ansible = ansible
        self.marks: dict[KeyPath, Mark] = {}
        self._open: set[int] = set()
        self._nodes = 0

    def build(self, node: Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise self._wrong(node, f"has more than {_MOST_NODES} values once its aliases are followed")
        if id(node) in self._open:
            raise self._wrong(node, "contains itself through an alias")
        self.marks.setdefault(path, Mark(self.file, node.start_mark.line + 1))
        tag = str(node.tag or "")
        if tag and not tag.startswith(_STANDARD):
            if self.ansible:
                return Opaque(tag)
            raise self._wrong(node, f"has the tag {tag}, which means nothing here", "write the plain value")
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._map(node, path)
            if isinstance(node, SequenceNode):
                return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
            if isinstance(node, ScalarNode):
                return self._scalar(node)
            raise self._wrong(node, "is neither a map, nor a list, nor a value")
        finally:
            self._open.discard(id(node))

    def _map(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _STANDARD + "merge":
                continue
            key = self._key(key_node)
            line = key_node.start_mark.line + 1
            if key in lines:
                raise self._wrong(
                    key_node, f"{key!r} is repeated", f"it is also in line {lines[key]}: keep one of them"
                )
            lines[key] = line
            self.marks[(*path, key)] = Mark(self.file, line)
            values[key] = self.build(value_node, (*path, key))
        for inherited in self._merged(node, path):
            values = inherited | values
        return values

    def _merged(self, node: MappingNode, path: KeyPath) -> Iterator[dict[str, Any]]:
        for key_node, value_node in node.value:
            if key_node.tag != _STANDARD + "merge":
                continue
            several = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
            for source in several:
                data = self.build(source, path)
                if not isinstance(data, dict):
                    raise self._wrong(source, "<< takes a map, or a list of maps")
                yield data

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise self._wrong(node, "a key is plain text, not a list or a map", "quote it if it has brackets or braces")
        return str(node.value)

    def _scalar(self, node: ScalarNode) -> Any:
        text = str(node.value)
        if node.style is None and self.ansible and text in _WORDS:
            return _WORDS[text]
        if node.style is not None or node.tag == _STANDARD + "str":
            return text
        if text.lower() in ("", "~", "null"):
            return None
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        if _INTEGER.fullmatch(text):
            return int(text) if len(text) < 4000 else text
        if _LEADING_ZERO.fullmatch(text):
            if self.ansible:
                return int(text, 8) if set(text) <= set("+-01234567") else text
            raise self._wrong(
                node,
                f"{text} could be octal or decimal",
                f'write "{text}" for the text, or the number without its zero',
            )
        return WrittenFloat(text) if _FLOAT.fullmatch(text) else text

    def _wrong(self, node: Node, message: str, hint: str | None = None) -> UsageError:
        return self.error(message, file=self.file, line=node.start_mark.line + 1, hint=hint)


def read_document(path: Path, shown: str, error: type[UsageError], *, ansible: bool = False) -> Document:
    """Read one YAML file.

    Args:
        path: the file; `shown`: its name in errors; `error`: the class of what is raised.
        ansible: read scalars as Ansible does (`yes` is true, `0644` octal), and keep values with tags of their own
            (`!vault`) as `Opaque`; otherwise both tags and leading zeros are errors.

    Returns: the document; its data is None for a file without content.
    Raises: `error`, with file and line, for anything that is not one well-formed YAML document.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise error(f"{shown} cannot be read: {problem.strerror}", file=shown) from None
    except UnicodeDecodeError as problem:
        line = path.read_bytes()[: problem.start].count(b"\n") + 1
        raise error(f"{shown} is not UTF-8 text", file=shown, line=line, hint="save it as UTF-8") from None
    return parse_document(text, shown, error, ansible=ansible)


def parse_document(text: str, shown: str, error: type[UsageError], *, ansible: bool = False) -> Document:
    """`read_document` for text that is already here."""
    builder = _Builder(shown, error, ansible)
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        data = None if node is None else builder.build(node, ())
    except MarkedYAMLError as problem:
        raise _malformed(problem, text, shown, error) from None
    except RecursionError:
        raise error(f"{shown} is nested too deeply", file=shown) from None
    except (YAMLError, ValueError, AttributeError, KeyError, IndexError, TypeError, AssertionError) as problem:
        # ruamel.yaml itself falls over on some malformed input; for the user it is malformed all the same.
        line = getattr(problem, "line", None)
        raise error(f"{shown} is not valid YAML", file=shown, line=line, cause=str(problem).split("\n")[0]) from None
    return Document(shown, data, builder.marks)


def _malformed(problem: MarkedYAMLError, text: str, shown: str, error: type[UsageError]) -> UsageError:
    mark = problem.problem_mark or problem.context_mark
    line = mark.line + 1 if mark else None
    lines = text.split("\n")
    written = lines[line - 1] if line and line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())] or "'\\t'" in str(problem.problem):
        return error("a tab cannot be used here", file=shown, line=line, hint="indent with spaces")
    cause = " ".join(str(part) for part in (problem.context, problem.problem) if part)
    return error(f"{shown} is not valid YAML", file=shown, line=line, cause=cause or None, hint=_advice(cause))


def _advice(cause: str) -> str | None:
    if "mapping values are not allowed" in cause:
        return "a value that contains ': ' must be quoted; otherwise look at the indentation"
    if "single document" in cause:
        return "keep one document: remove the line ---"
    if "alias" in cause:
        return "a value that begins with * or & must be quoted"
    if "cannot start any token" in cause:
        return "a value that begins with %, @ or ` must be quoted"
    return None
