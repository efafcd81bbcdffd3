"""Names that say nothing stay out: a name says what the thing is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import deployer

PACKAGE = Path(deployer.__file__).parent
BANNED = {"found", "told", "said", "asked", "each", "theirs", "here"}
# Fields that are part of JSON.
EXCEPTIONS = {
    "agent/model/messages/host.py: asked",
    "agent/model/messages/releases.py: asked",
    "agent/model/resources.py: told",
    "probe/receipt.py: told",
}


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that the tree gives to a function, class, parameter, attribute or value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def test_no_name_is_an_answer_or_a_pronoun() -> None:
    bad = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in sorted(PACKAGE.glob("**/*.py"))
        for name, line in names(ast.parse(path.read_text(encoding="utf-8")))
        if name.strip("_") in BANNED and f"{path.relative_to(PACKAGE)}: {name}" not in EXCEPTIONS
    ]
    assert not bad, "say what the thing is instead: " + ", ".join(bad)
