"""The driver of a balancer that another package adds, as modules of the agent.

An entry point of the group `deployer.drivers` names its class: `traefik = "deploy_traefik.host.driver:Traefik"`. The
package that holds the module (`deploy_traefik.host`) is sent whole, so that the driver can have helpers. On the host it
is `deployer.agent.balancer.plugin_traefik`, so its modules import each other relatively.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module, resources
from importlib.metadata import EntryPoint
from importlib.resources.abc import Traversable

from deployer.errors import SettingsError
from deployer.registry import BALANCERS, DRIVERS

OLDEST = (3, 9)
"""The oldest Python of a host."""
_USABLE = ("deployer.agent",)
"""Packages beside the standard library that hosts have while a run lasts."""
_TABLE = 'DRIVERS = {{{kind!r}: "{module}:{name}"}}\n'


def driver_sources(kind: str) -> dict[str, str]:
    """Return the modules that drive a balancer of that kind: name relative to `deployer.agent` → source.

    They are none for a built-in kind, whose driver is among the agent's own modules.

    Raises SettingsError when the package that adds the kind has no driver, or one that could not run on a host.
    """
    if kind in BALANCERS.built_in:
        return {}
    entry = DRIVERS.added.get(kind)
    if entry is None:
        raise SettingsError(
            f"the balancer {kind} has no driver for its hosts",
            hint=f"its package needs an entry point {kind} of the group {DRIVERS.group}",
        )
    parent, _, module = entry.module.rpartition(".")
    modules = _read_package(entry, kind, parent)
    if module not in modules:
        raise _unusable(kind, entry, f"{parent} has no module {module}")
    for name, source in modules.items():
        _require_usable(kind, entry, f"{parent}.{name}", source)
    folder = f"plugin_{re.sub(r'[^a-z0-9]', '_', kind)}"
    table = _TABLE.format(kind=kind, module=f"{folder}.{module}", name=entry.attr)
    return {
        "balancer.plugins": table,
        **{f"balancer.{folder}.{name}": source for name, source in modules.items()},
    }


def _read_package(entry: EntryPoint, kind: str, package: str) -> Mapping[str, str]:
    if not package:
        raise _unusable(kind, entry, "its module lies in no package")
    try:
        import_module(package)
        return dict(read_modules(resources.files(package)))
    except Exception as error:
        raise _unusable(kind, entry, f"{type(error).__name__}: {error}") from error


def read_modules(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name → source of all modules below a folder; the `__init__.py` of packages hold nothing but a docstring."""
    for item in folder.iterdir():
        if item.is_dir():
            yield from read_modules(item, f"{prefix}{item.name}.")
        elif item.name.endswith(".py") and item.name != "__init__.py":
            yield prefix + item.name.removesuffix(".py"), item.read_text("utf-8")


def _require_usable(kind: str, entry: EntryPoint, module: str, source: str) -> None:
    try:
        tree = ast.parse(source, feature_version=OLDEST)
    except SyntaxError as error:
        oldest = ".".join(map(str, OLDEST))
        raise _unusable(
            kind, entry, f"{module}, line {error.lineno}: hosts may have Python {oldest}: {error.msg}"
        ) from error
    for node in ast.walk(tree):
        for name in _imported(node):
            if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(_USABLE):
                line = getattr(node, "lineno", 0)
                raise _unusable(kind, entry, f"{module}, line {line} imports {name}, which hosts do not have")


def _imported(node: ast.AST) -> list[str]:
    """Return the modules that a statement imports by their full names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def _unusable(kind: str, entry: EntryPoint, why: str) -> SettingsError:
    return SettingsError(
        f"the driver {entry.value} of the balancer {kind} cannot be sent to hosts",
        cause=why,
        hint="its package holds only Python files that use the standard library and deployer.agent",
    )
