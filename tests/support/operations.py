"""What docs/operations.md and the agent's source say of each operation: its arguments and the codes of its errors."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deployer import agent
from deployer.agent.operation import MODULES

AGENT = Path(agent.__file__).parent
DOCS = AGENT.parents[1] / "docs/operations.md"
GENERAL = frozenset(
    {
        *("no_space", "read_only", "disk_error", "path_blocked", "not_permitted"),  # by the host's file system
        *("internal", "cancelled", "lease_lost", "host_busy", "not_set_up", "not_ours", "unknown_operation"),
    }
)
"""The codes that the text above the table, the session, or a shared part of the agent may answer with."""


@dataclass(frozen=True)
class Documented:
    """One row of docs/operations.md: the words of its arguments, and the codes of its errors."""

    arguments: frozenset[str]
    errors: frozenset[str]


@cache
def documented() -> dict[str, Documented]:
    """Operation → what its row in docs/operations.md says. Two operations may share a row."""
    rows: dict[str, Documented] = {}
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 4 or "`" not in cells[0]:
            continue
        row = Documented(_code_words(cells[1]), _code_words(cells[3]))
        rows.update(dict.fromkeys(re.findall(r"`([a-z]+\.[a-z_]+)`", cells[0]), row))
    return rows


def _code_words(cell: str) -> frozenset[str]:
    return frozenset(word for code in re.findall(r"`([^`]+)`", cell) for word in re.findall(r"[a-z_]+", code))


def require_documented_request(operation: str, args: Mapping[str, Any]) -> None:
    """AssertionError for a request that agents do not know, or with an argument that is not documented."""
    assert operation in documented(), f"docs/operations.md has no {operation}"
    unknown = set(args) - documented()[operation].arguments - {"site", "run"}  # which any request may have
    assert not unknown, f"docs/operations.md has no {', '.join(sorted(unknown))} for {operation}"
    json.dumps(args)


def require_documented_error(operation: str, code: str) -> None:
    """AssertionError for an error that an agent does not answer to that operation."""
    known = documented()[operation].errors | GENERAL
    assert code in known, f"{operation} does not answer {code}, but one of {', '.join(sorted(known))}"


@cache
def registered() -> dict[str, Path]:
    """Operation → the file that registers it, from the source of the agent."""
    return {name: path for path in sorted(AGENT.glob("**/*.py")) for name in _registers(path)}


def _registers(path: Path) -> Iterator[str]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "operation":
            name = node.args[0]
            assert isinstance(name, ast.Constant), ast.dump(name)
            yield str(name.value)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named_in(folder: Path) -> dict[str, set[str]]:
    """Texts in source code that have the form of an operation's name → the files that contain them.

    Only the first part has to be one that the agent knows, so that a mistyped verb is among them.
    """
    names: dict[str, set[str]] = {}
    for path in sorted(folder.glob("**/*.py")):
        if AGENT in path.parents:
            continue
        for call in (node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call)):
            if not _is_request(call):
                continue
            for argument in call.args[:3]:
                for node in ast.walk(argument):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _has_form(node.value):
                        names.setdefault(node.value, set()).add(path.name)
    return names


def _is_request(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return "call" in name or "on_hosts" in name or name in ("_carry_out", "UnexpectedResponse")


def _has_form(text: str) -> bool:
    return bool(re.fullmatch(r"[a-z]+\.[a-z_]+", text)) and text.partition(".")[0] in MODULES


@cache
def keys_read(operation: str) -> frozenset[str]:
    """The keys of the arguments that the agent's code of an operation reads, itself or by functions beside it."""
    path = registered()[operation]
    for function in (node for node in _tree(path).body if isinstance(node, ast.FunctionDef)):
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and _names(decorator, operation):
                code = [function, *(keyword.value for keyword in decorator.keywords)]
                return frozenset(key for part in code for key in _keys(path, part, "args"))
    raise AssertionError(f"{path} does not register {operation}")


def _names(decorator: ast.Call, operation: str) -> bool:
    return any(isinstance(argument, ast.Constant) and argument.value == operation for argument in decorator.args)


def _keys(path: Path, code: ast.AST, variable: str) -> Iterator[str]:
    """The constant keys by which `code` reads the map `variable`, also in what it hands the map on to."""
    for node in ast.walk(code):
        if isinstance(node, ast.Subscript) and _is(node.value, variable):
            yield from _constants(code, node.slice)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and _is(node.func.value, variable):
                yield from _constants(code, node.args[0])
            for place, argument in enumerate(node.args):
                if _is(argument, variable):
                    yield from _handed_on(path, node.func, place)


def _is(node: ast.AST, variable: str) -> bool:
    return isinstance(node, ast.Name) and node.id == variable


def _constants(code: ast.AST, key: ast.expr) -> Iterator[str]:
    if isinstance(key, ast.Constant):
        yield str(key.value)
        return
    assert isinstance(key, ast.Name), ast.dump(key)  # the keys are those of a tuple: `for key in keys`
    for node in ast.walk(code):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and _is(node.targets[0], "keys"):
            yield from (str(item.value) for item in node.value.elts if isinstance(item, ast.Constant))


def _handed_on(path: Path, function: ast.expr, place: int) -> Iterator[str]:
    if ast.unparse(function) == "Site.from_args":
        yield "site"
        return
    if isinstance(function, ast.Attribute):  # a method of a class in the same file
        methods = [
            one for one in ast.walk(_tree(path)) if isinstance(one, ast.FunctionDef) and one.name == function.attr
        ]
        assert len(methods) == 1, f"{path.name} hands its arguments on to {ast.unparse(function)}"
        yield from _keys(path, methods[0], methods[0].args.args[place + 1].arg)
        return
    assert isinstance(function, ast.Name), ast.unparse(function)
    for node in _tree(path).body:
        if isinstance(node, ast.FunctionDef) and node.name == function.id:
            yield from _keys(path, node, node.args.args[place].arg)
        elif isinstance(node, ast.ClassDef) and node.name == function.id:
            (init,) = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
            yield from _keys(path, init, init.args.args[place + 1].arg)
