"""Where the code keeps a database in a file of SQLite."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from deployer.settings.inference.app.modules import Code, Module

URL = re.compile(r"sqlite(?:\+\w+)?:///(?!:memory:|$)")
_DJANGO = "django.db.backends.sqlite3"


def find_sqlite(code: Code, folder: Path) -> str:
    """Return the first `file:line` of the code or of `.env` that names a file of SQLite; empty if none does."""
    for module in code.modules:
        for node in ast.walk(module.tree):
            if _names_file(node, module):
                return f"{module.file}:{getattr(node, 'lineno', 1)}"
    try:
        lines = (folder / ".env").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((f".env:{number}" for number, line in enumerate(lines, 1) if URL.search(line)), "")


def _names_file(node: ast.AST, module: Module) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value == _DJANGO or URL.match(node.value) is not None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        is_connect = node.func.attr == "connect" and module.imports.get(node.func.value.id) in ("sqlite3", "aiosqlite")
        return is_connect and not any(
            isinstance(argument, ast.Constant) and argument.value == ":memory:" for argument in node.args
        )
    return False
