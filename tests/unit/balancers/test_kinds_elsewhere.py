"""What a balancer can do is asked of its adapter: no other code compares the kind with a name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import deployer
from deployer.registry import BALANCERS

PACKAGE = Path(deployer.__file__).parent
LAYERS = ("plan", "rollout", "report", "cli", "agent", "remote", "roles", "verify")
OWN = ("agent/balancer/haproxy/", "agent/balancer/nginx/", "agent/balancer/caddy/")
# This module is about Caddy's program alone.
EXCEPT = {"rollout/delivery/install_caddy.py"}


def comparisons(tree: ast.AST) -> Iterator[int]:
    """The lines on which something called `kind` is compared with the name of a built-in balancer."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            words = {part.value for side in sides for part in ast.walk(side) if isinstance(part, ast.Constant)}
            names = " ".join(ast.unparse(side) for side in sides)
            if words & set(BALANCERS.built_in[:-1]) and "kind" in names:
                yield node.lineno


def test_comparisons_are_recognised() -> None:
    assert list(comparisons(ast.parse('topology.kind == "command"'))) == [1]
    assert list(comparisons(ast.parse('driver.get("kind") in ("haproxy", "nginx")'))) == [1]
    assert not list(comparisons(ast.parse('kind == "none" or name == "caddy"')))


def test_no_layer_compares_the_kind_of_a_balancer_with_a_name() -> None:
    lines = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for layer in LAYERS
        for path in sorted((PACKAGE / layer).rglob("*.py"))
        if (name := path.relative_to(PACKAGE).as_posix()) not in EXCEPT and not name.startswith(OWN)
        for line in comparisons(ast.parse(path.read_text("utf-8")))
    ]
    assert not lines, "give the adapter a property: " + ", ".join(lines)
