"""The health path, read from route literals; only a path that is certain to be served under that name counts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from deployer.settings.inference.app.apps import Apps
from deployer.settings.inference.app.modules import Module

HEALTH_PATHS = ("/healthz", "/health", "/-/health", "/readyz", "/livez", "/ping", "/up")
_VERBS = {"get", "route", "api_route", "head"}
_ADDERS = {"add_route", "add_api_route", "add_url_rule", "add_get"}
_INCLUDES = {"include_router": "prefix", "register_blueprint": "url_prefix"}
_ROUTERS = {"APIRouter", "Blueprint", "Router"}


@dataclass(frozen=True)
class Route:
    """A path that the app serves, and where it is written; `literal` is its last part, without a router's prefixes."""

    path: str
    literal: str
    file: str
    line: int


class Routes:
    """Reads routes of the apps in `apps`."""

    def __init__(self, apps: Apps) -> None:
        self.apps = apps
        self._includes = self._all_includes()

    def health(self) -> Route | None:
        """Return the most usual health route, or None."""
        known = {path: rank for rank, path in enumerate(HEALTH_PATHS)}
        routes = [route for module in self.apps.code.modules for route in self._in(module)]
        health_routes = [route for route in routes if route.literal.rstrip("/") in known]
        return min(health_routes, key=lambda route: known[route.literal.rstrip("/")], default=None)

    def websockets(self) -> str | None:
        """`file:line` of a websocket route, or None."""
        for module in self.apps.code.modules:
            for node in ast.walk(module.tree):
                named = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
                if named in ("websocket", "WebSocketRoute", "websocket_route", "AsyncWebsocketConsumer", "WebSocket"):
                    return f"{module.file}:{getattr(node, 'lineno', 1)}"
        return None

    def _in(self, module: Module) -> Iterator[Route]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call):
                        yield from self._decorated(module, decorator)
            elif isinstance(node, ast.Call):
                yield from self._called(module, node)

    def _decorated(self, module: Module, call: ast.Call) -> Iterator[Route]:
        path = _literal(call)
        if path is None:
            return
        if isinstance(call.func, ast.Attribute) and call.func.attr in _VERBS:
            for prefix in self._prefixes(module, call.func.value):
                yield Route(prefix + path, path, module.file, call.lineno)
        elif (module.qualified(call.func) or "").startswith("litestar.") and not _has(module, ("Router", "Controller")):
            whole = path if path.startswith("/") else f"/{path}"
            yield Route(whole, whole, module.file, call.lineno)

    def _called(self, module: Module, call: ast.Call) -> Iterator[Route]:
        path = _literal(call)
        if path is None:
            return
        if isinstance(call.func, ast.Attribute) and call.func.attr in _ADDERS:
            for prefix in self._prefixes(module, call.func.value):
                yield Route(prefix + path, path, module.file, call.lineno)
        name = module.qualified(call.func) or ""
        if name in ("starlette.routing.Route", "fastapi.routing.APIRoute") and not _has(module, ("Mount",)):
            yield Route(path, path, module.file, call.lineno)
        if name in ("django.urls.path", "django.urls.conf.path") and module.name in self._root_urls():
            yield Route("/" + path, "/" + path, module.file, call.lineno)

    def _prefixes(self, module: Module, owner: ast.expr) -> list[str]:
        """Return what stands before a path routed on `owner`: nothing for an app, a router's prefixes where they are
        known."""
        name = module.qualified(owner) or ""
        if name in self.apps.mounted:
            return []
        if self._is_app(module, owner):
            return [""]
        return self._includes.get(name, [])

    def _is_app(self, module: Module, owner: ast.expr) -> bool:
        if self.apps.kind(module, owner):
            return True
        values = module.assigned.get(owner.id, []) if isinstance(owner, ast.Name) else []
        return any(isinstance(value, ast.Call) and self.apps.kind(module, value) for value in values)

    def _all_includes(self) -> dict[str, list[str]]:
        prefixes: dict[str, list[str]] = {}
        for module in self.apps.code.modules:
            for node in ast.walk(module.tree):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                    continue
                included, how = module.qualified(node.args[0]), node.func.attr
                if included and how in _INCLUDES and self._is_app(module, node.func.value):
                    prefix = self._joined(included, _keyword(node, _INCLUDES[how]), how)
                    if prefix is not None:
                        prefixes.setdefault(included, []).append(prefix)
        return prefixes

    def _joined(self, router: str, at: str | None, how: str) -> str | None:
        """Return the whole prefix of a router, or None when a part of it is not a literal."""
        owner, _, name = router.rpartition(".")
        try:
            values = self.apps.code[owner].assigned.get(name, [])
        except KeyError:
            return None
        call = values[0] if len(values) == 1 else None
        if not isinstance(call, ast.Call) or _called_name(call) not in _ROUTERS or at is None:
            return None
        if how == "register_blueprint":
            return at or _keyword(call, "url_prefix")
        own = _keyword(call, "prefix")
        return None if own is None else at + own

    def _root_urls(self) -> set[str]:
        module_names = set()
        for module in self.apps.code.modules:
            for value in module.assigned.get("ROOT_URLCONF", []):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    module_names.add(value.value)
        return module_names


def _literal(call: ast.Call) -> str | None:
    """Return the first argument, or `path=`, if it is literal text."""
    value = (
        call.args[0] if call.args else next((keyword.value for keyword in call.keywords if keyword.arg == "path"), None)
    )
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _keyword(call: ast.Call, name: str) -> str | None:
    """Return a keyword's literal text, "" when it is not given, None when it is something else."""
    for keyword in call.keywords:
        if keyword.arg == name:
            value = keyword.value
            return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
    return ""


def _called_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _has(module: Module, names: tuple[str, ...]) -> bool:
    return any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(module.tree))
