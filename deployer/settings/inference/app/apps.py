"""ASGI and WSGI apps in parsed code: instances, factories, classes of the project's own, names imported elsewhere."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal

from deployer.settings.inference.app.modules import Code, Module, assignments

Interface = Literal["asgi", "wsgi"]


@dataclass(frozen=True)
class Kind:
    """What an expression makes: an app of this framework and interface."""

    framework: str
    interface: Interface


@dataclass(frozen=True)
class Candidate:
    """A module's attribute that could be served. `origin` is the same for names of one and the same object.

    `home` is the file in which that object is made, since modules below different roots may have one name.
    """

    module: str
    attribute: str
    kind: Kind
    factory: bool
    origin: str
    file: str
    line: int
    root: str
    home: str

    @property
    def path(self) -> str:
        return f"{self.module}:{self.attribute}"


_FRAMEWORKS: dict[str, Kind] = {
    "fastapi.FastAPI": Kind("FastAPI", "asgi"),
    "fastapi.applications.FastAPI": Kind("FastAPI", "asgi"),
    "starlette.applications.Starlette": Kind("Starlette", "asgi"),
    "litestar.Litestar": Kind("Litestar", "asgi"),
    "litestar.app.Litestar": Kind("Litestar", "asgi"),
    "quart.Quart": Kind("Quart", "asgi"),
    "blacksheep.Application": Kind("BlackSheep", "asgi"),
    "channels.routing.ProtocolTypeRouter": Kind("Django", "asgi"),
    "channels.routing.get_default_application": Kind("Django", "asgi"),
    "django.core.handlers.asgi.ASGIHandler": Kind("Django", "asgi"),
    "django.core.handlers.wsgi.WSGIHandler": Kind("Django", "wsgi"),
    "django.core.asgi.get_asgi_application": Kind("Django", "asgi"),
    "django.core.wsgi.get_wsgi_application": Kind("Django", "wsgi"),
    "falcon.asgi.App": Kind("Falcon", "asgi"),
    "falcon.App": Kind("Falcon", "wsgi"),
    "falcon.API": Kind("Falcon", "wsgi"),
    "flask.Flask": Kind("Flask", "wsgi"),
    "flask.app.Flask": Kind("Flask", "wsgi"),
    "bottle.Bottle": Kind("Bottle", "wsgi"),
    "bottle.default_app": Kind("Bottle", "wsgi"),
    "asgiref.wsgi.WsgiToAsgi": Kind("asgiref", "asgi"),
    "a2wsgi.ASGIMiddleware": Kind("a2wsgi", "wsgi"),
    "a2wsgi.WSGIMiddleware": Kind("a2wsgi", "asgi"),
    "socketio.ASGIApp": Kind("Socket.IO", "asgi"),
}
APP_NAMES = ("app", "application", "asgi_app", "wsgi_app", "asgi", "wsgi", "api", "server")
FACTORY_NAMES = ("create_app", "make_app", "build_app", "get_app", "app_factory", "create_application")
_DEEPEST = 12


class Apps:
    """Finds apps in `code`; `candidates()` has them all, `kind(module, expression)` tells what one expression makes."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._values: dict[str, tuple[Module, ast.expr]] = {}
        self._functions: dict[str, tuple[Module, ast.FunctionDef | ast.AsyncFunctionDef]] = {}
        self._classes: dict[str, tuple[Module, ast.ClassDef]] = {}
        for module in code.modules:
            for statement in module.statements:
                self._note(module, statement)
        self.mounted = self._mounted()

    def candidates(self) -> list[Candidate]:
        """Return apps that exist at import, factories, and names that other modules import them under."""
        candidates: list[Candidate] = []
        for module in self.code.modules:
            for statement in module.statements:
                candidates += self._in_statement(module, statement)
        latest = {
            (candidate.file, candidate.attribute): candidate
            for candidate in candidates
            if candidate.origin not in self.mounted
        }
        return list(latest.values())

    def kind(self, module: Module, node: ast.expr, depth: int = 0) -> Kind | None:
        """Return what evaluating `node` in `module` gives, if it gives an app."""
        if depth > _DEEPEST:
            return None
        if isinstance(node, ast.Call):
            return self._called(module, node, depth + 1)
        name = module.qualified(node)
        if name in self._values:
            return self.kind(*self._values[name], depth + 1)
        return None

    def _note(self, module: Module, statement: ast.stmt) -> None:
        for name, value in assignments(statement):
            dotted_name = f"{module.name}.{name}"
            if not (isinstance(value, ast.Call) and _wraps(value, name) and dotted_name in self._values):
                self._values[dotted_name] = (module, value)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            self._functions[f"{module.name}.{statement.name}"] = (module, statement)
        elif isinstance(statement, ast.ClassDef):
            self._classes[f"{module.name}.{statement.name}"] = (module, statement)

    def _called(self, module: Module, call: ast.Call, depth: int) -> Kind | None:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "make_wsgi_app":
            return Kind("Pyramid", "wsgi")
        name = module.qualified(call.func)
        if name is None:
            return None
        if name in _FRAMEWORKS:
            return _FRAMEWORKS[name]
        if name in self._classes:
            owner, definition = self._classes[name]
            kinds = [self._base(owner, base, depth) for base in definition.bases]
            return next((kind for kind in kinds if kind), None)
        if name in self._functions:
            return self.returned(*self._functions[name], depth)
        return None

    def _base(self, module: Module, node: ast.expr, depth: int) -> Kind | None:
        return self._called(module, ast.Call(func=node, args=[], keywords=[]), depth + 1) if depth <= _DEEPEST else None

    def returned(self, module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef, depth: int = 0) -> Kind | None:
        """Return what a function returns, by its annotation or its return statements, if that is an app."""
        if depth > _DEEPEST or isinstance(function, ast.AsyncFunctionDef):
            return None
        if function.returns is not None:
            kind = _FRAMEWORKS.get(module.qualified(function.returns) or "")
            if kind:
                return kind
        inner = {name: value for node in ast.walk(function) for name, value in assignments(node)}
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                value = inner.get(node.value.id, node.value) if isinstance(node.value, ast.Name) else node.value
                kind = self.kind(module, value, depth + 1)
                if kind:
                    return kind
        return None

    def _in_statement(self, module: Module, statement: ast.stmt) -> list[Candidate]:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            candidate = self._function(module, statement)
            return [candidate] if candidate else []
        if isinstance(statement, ast.ImportFrom):
            return self._imported(module, statement)
        candidates = []
        for name, value in assignments(statement):
            kind = self.kind(module, value) or self._wrapped(module, name, value) or self._plain(module, name, value)
            if kind:
                origin = self._origin(module, name)
                candidates.append(self._candidate(module, name, kind, statement.lineno, origin=origin))
        return candidates

    def _function(self, module: Module, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Candidate | None:
        names = [argument.arg for argument in node.args.args]
        raw = _called_as(names, node)
        if raw and "django.core.asgi.get_asgi_application" in module.imports.values():
            raw = Kind("Django", raw.interface)  # its asgi.py, which sends websockets elsewhere
        if raw or isinstance(node, ast.AsyncFunctionDef):
            return self._candidate(module, node.name, raw, node.lineno) if raw else None
        needed = (
            len(node.args.args) - len(node.args.defaults) + sum(default is None for default in node.args.kw_defaults)
        )
        kind = None if needed or node.decorator_list else self.returned(module, node)
        return self._candidate(module, node.name, kind, node.lineno, factory=True) if kind else None

    def _imported(self, module: Module, node: ast.ImportFrom) -> list[Candidate]:
        candidates = []
        for alias in node.names:
            name = alias.asname or alias.name
            origin = module.imports.get(name, "")
            if name in APP_NAMES and origin in self._values:
                kind = self.kind(*self._values[origin])
                if kind:
                    candidates.append(self._candidate(module, name, kind, node.lineno, origin=origin))
        return candidates

    def _wrapped(self, module: Module, name: str, value: ast.expr) -> Kind | None:
        """`app = WhiteNoise(app)`: only under the name of an app, since much else takes an app as well."""
        if name not in APP_NAMES or not isinstance(value, ast.Call):
            return None
        arguments = [*value.args, *(keyword.value for keyword in value.keywords)]
        return next((kind for argument in arguments if (kind := self.kind(module, argument))), None)

    def _plain(self, module: Module, name: str, value: ast.expr) -> Kind | None:
        """`app = App()` of a class of the project's own that is called as apps are: under the name of an app alone."""
        if name not in APP_NAMES or not isinstance(value, ast.Call):
            return None
        _, definition = self._classes.get(module.qualified(value.func) or "", (None, None))
        for member in definition.body if definition else ():
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and member.name == "__call__":
                return _called_as([argument.arg for argument in member.args.args[1:]], member)
        return None

    def _origin(self, module: Module, name: str) -> str:
        dotted_name = f"{module.name}.{name}"
        for _ in range(_DEEPEST):
            owner, value = self._values[dotted_name]
            below = None if isinstance(value, ast.Call) else owner.qualified(value)
            if below is None or below not in self._values or below == dotted_name:
                break
            dotted_name = below
        return dotted_name

    def _candidate(
        self, module: Module, name: str, kind: Kind, line: int, *, factory: bool = False, origin: str = ""
    ) -> Candidate:
        dotted_name = f"{module.name}.{name}"
        origin = origin or dotted_name
        home = module.file if origin == dotted_name or origin not in self._values else self._values[origin][0].file
        return Candidate(module.name, name, kind, factory, origin, module.file, line, module.root, home)

    def _mounted(self) -> set[str]:
        """Return apps that another app serves below a path: `app.mount("/admin", admin)`, `Mount("/admin",
        app=admin)`."""
        mounted_apps = set()
        for module in self.code.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and _is_mount(node):
                    values = [*node.args, *(keyword.value for keyword in node.keywords)]
                    mounted_apps |= {name for value in values if (name := module.qualified(value))}
        return mounted_apps


def _called_as(names: list[str], function: ast.FunctionDef | ast.AsyncFunctionDef) -> Kind | None:
    """Return the interface that these names of arguments are of."""
    if isinstance(function, ast.AsyncFunctionDef):
        return Kind("plain ASGI", "asgi") if names == ["scope", "receive", "send"] else None
    wsgi = names in (["environ", "start_response"], ["env", "start_response"])
    return Kind("plain WSGI", "wsgi") if wsgi else None


def _is_mount(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in ("mount", "Mount")
    return isinstance(call.func, ast.Name) and call.func.id == "Mount"


def _wraps(call: ast.Call, name: str) -> bool:
    """Return whether the call takes `name` itself: the app stays what it was."""
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(isinstance(value, ast.Name) and value.id == name for value in values)
