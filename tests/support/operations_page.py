"""docs/operations.md, from the messages, and the docstrings of the functions that carry operations out.

PYTHONPATH=tests python -m support.operations_page > docs/operations.md
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from deployer.agent import operation as agent
from deployer.agent.model import health_record, layout, resources, supervision, typed
from deployer.agent.model.messages import (
    balancer,
    dependencies,
    event,
    freeze,
    host,
    instances,
    lock,
    logs,
    releases,
    requests,
    secrets,
    site,
    takeover,
)
from deployer.agent.model.messages import resources as resource_messages
from deployer.agent.model.typed import Operation

SECTIONS: tuple[tuple[str, ModuleType], ...] = (
    ("Hosts and commands", host),
    ("The lock", lock),
    ("Releases and their hook", releases),
    ("Interpreters, virtualenvs, programs", dependencies),
    ("Resources", resource_messages),
    ("Secrets", secrets),
    ("Instances, processes, schedules", instances),
    ("Logs", logs),
    ("The site", site),
    ("Pushes stopped by a person", freeze),
    ("Balancers", balancer),
    ("Requests from a balancer's host", requests),
    ("What another tool runs", takeover),
)

_HEAD = """# The agent's operations

`make reference` writes this page from `deployer/agent/model/messages/` and from the functions that carry the operations
out; a test compares them.

An operation takes one JSON map and answers with one; both sides check what arrives against the same types. Every
operation is named `<noun>.<verb>`, is idempotent, and is safe to repeat after a crash at any point. Durations are
seconds. `run` is the id of a run. A key with `?` may be missing.

An operation that cannot do its work answers an error: `code, message, hint, log, detail`. In hints `{env}`, `{host}`
and `{command}` stand for the environment, the host and the command that was typed. Any operation may answer:

- `malformed_request`: the request has another shape. The message names the field, what it holds and what it should.
- `no_space`, `read_only`, `disk_error`, `not_permitted`: the host's file system refuses.
- `path_blocked`: something else is where a folder or a file has to be.

`MODULES` in `deployer/agent/operation.py` says which module has the operations of a noun.
"""
_TAIL = """## Lines of the ledger

`.deploy/ledger.jsonl`, one JSON map a line (`LedgerLine`), fsynced before the act:

- `begun` when a run takes the lock, and again when it knows its release; `ended` before it gives the lock back.
- `intent` and `outcome` for every switch, stop and hook.
- `current` when `current` moves. A release is **proven** once it has been `current`. It is **withdrawn** when
  `rollback` or `restore` (`via`) moves away from it, until it is pushed again.
- `admitted`, `frozen`, `thawed`, `closed`, `opened`, `adopt`: what watchdogs, people and takeovers did.
"""
_WORDS = {"str": "text", "bool": "boolean", "int": "integer", "float": "number", "object": "any", "Any": "any"}
_KEYS = {"str": "name", "PortText": "port", "Milliseconds": "milliseconds"}


def page() -> str:
    """The whole page."""
    parts = [
        _HEAD,
        *(_section(title, module) for title, module in SECTIONS),
        _events(),
        _dataclasses(),
        _values(),
        _TAIL,
    ]
    return "\n".join(part.strip() + "\n" for part in parts)


def _section(title: str, module: ModuleType) -> str:
    specs = [value for value in vars(module).values() if isinstance(value, Operation)]
    ends = {message for spec in specs for message in (spec.request, spec.response)}
    others = [message for message in _messages(module) if message not in ends]
    text = [f"## {title}", *map(_operation, specs)]
    if others:
        text.append("\n\n".join(_described(message) for message in others))
    return "\n\n".join(text)


def _messages(module: ModuleType) -> list[type]:
    known = typed.MESSAGES.values()
    return [value for value in vars(module).values() if value in known and value.__module__ == module.__name__]


def _operation(spec: Operation[Any, Any]) -> str:
    function = inspect.unwrap(agent.find(spec.name))
    text, _, errors = (inspect.getdoc(function) or "").partition("\nRaises:\n")
    lines = [
        f"### `{spec.name}`",
        text.strip(),
        _described(spec.request, "Request"),
        _described(spec.response, "Response"),
    ]
    if errors:
        words = " ".join(textwrap.dedent(errors).split())
        lines.append(f"Errors: {words.removeprefix('OpError: ')}")
    return "\n\n".join(lines)


def _described(message: type, role: str = "") -> str:
    """One line with the fields, and what the docstring says of them."""
    fields = ", ".join(f"`{name}{'' if required else '?'}: {text}`" for name, required, text in _fields(message))
    doc = "" if message in (layout.OnSite, typed.Empty) else message.__doc__
    title = f"{role} `{message.__name__}`".strip() if doc else role
    about = " ".join((doc or "").split())
    return f"**{title}**: {fields or 'nothing'}" + (f"  \n{about}" if about else "")


def _fields(message: type) -> Iterator[tuple[str, bool, str]]:
    for cls in reversed(message.__mro__):
        for name, text in vars(cls).get("__annotations__", {}).items():
            tree = ast.parse(text, mode="eval").body
            optional = isinstance(tree, ast.Subscript) and ast.unparse(tree.value) == "NotRequired"
            required = getattr(cls, "__total__", True) and not optional
            if dataclasses.is_dataclass(cls):
                field = cls.__dataclass_fields__[name]
                required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            yield name, required, _type(tree.slice if optional and isinstance(tree, ast.Subscript) else tree)


def _type(node: ast.expr) -> str:
    """An annotation as a reader of JSON has it."""
    if isinstance(node, ast.Constant) and node.value is None:
        return "null"
    if isinstance(node, ast.BinOp):
        return f"{_type(node.left)} or {_type(node.right)}"
    if isinstance(node, ast.Subscript):
        outer = ast.unparse(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer == "dict":
            return f"{{{_KEYS[ast.unparse(inner[0])]}: {_type(inner[1])}}}"
        if outer == "list" or ast.unparse(inner[-1]) == "...":
            return f"[{_type(inner[0])}]"
        return _type(inner[0]) if outer == "Wire" else f"[{', '.join(map(_type, inner))}]"
    name = ast.unparse(node)
    if name in ("Argv", "Commands", "Json", "JsonMap"):
        return {"Argv": "[text]", "Commands": "[[text]]", "Json": "any", "JsonMap": "map"}[name]
    return _WORDS.get(name, name)


def _events() -> str:
    return "## Events\n\n" + _described(event.Event)


def _dataclasses() -> str:
    classes = [layout.Site, supervision.Verbs, supervision.Health, supervision.Instance, supervision.Process]
    kinds = [f"`{kind}`: {_described(cls)}" for kind, cls in resources.KINDS.items()]
    return "\n\n".join(
        [
            "## What both sides have as classes",
            *map(_described, [*classes, supervision.Schedule]),
            _described(health_record.HealthRecord),
            "**`Resource`**: one of these, told apart by `kind`.",
            *kinds,
        ]
    )


def _values() -> str:
    """The aliases of `agent.model.typed`, each with the text below it."""
    body = ast.parse(inspect.getsource(typed)).body
    lines = ["## Values", ""]
    for node, after in itertools.pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            name = ast.unparse(node.targets[0])
            if name not in ("PortText", "Milliseconds", "Json", "JsonMap", "Commands"):
                lines.append(f"- `{name}`: {ast.literal_eval(after.value)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
