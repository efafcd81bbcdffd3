"""pydantic's errors as one error for the user: file, line, what is wrong there, how it is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from deployer.errors import SettingsError
from deployer.registry import UnknownName
from deployer.settings.reference import keys_at, meaning
from deployer.settings.values import Misplaced
from deployer.settings.yaml.document import Document, KeyPath

_HOSTS = "hosts are not in this file: write them into inventories/prod.yaml, as Ansible has them"
_ELSEWHERE = {
    "service": "the app's name is app: NAME",
    "name": "the app's name is app: NAME",
    "servers": _HOSTS,
    "hosts": _HOSTS,
    "roles": _HOSTS,
    "inventory": _HOSTS,
    "image": "deploy uses no images: it ships the code as it is in git",
    "registry": "deploy uses no images: it ships the code as it is in git",
    "builder": "hooks: {build: COMMAND} runs on this machine before the code is shipped",
    "proxy": "domains: [shop.example.com] names the app's domains, balancer: what stands before it",
    "ssh": "the inventory sets how SSH reaches a host: ansible_user, ansible_port",
    "accessories": "only the app is deployed; commands beside it go under processes:",
    "environment": "variables are env: {NAME: value}",
    "volumes": "folders that outlive a release are shared: [media/]",
    "linked_dirs": "folders that outlive a release are shared: [media/]",
    "linked_files": "files that outlive a release are shared: [settings_local.py]",
    "keep_releases": "the number of releases that stay is keep: 5",
    "repository": "the code is that of this folder; source: {path: …} names another",
    "healthcheck": "health: {path: /healthz}",
}
"""What keys of other tools (Kamal, Capistrano, Ansible, Compose) are here."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was probably meant to be, or None."""
    words = list(known)
    swapped = [candidate for candidate in words if sorted(candidate) == sorted(word.lower())]
    matches = swapped or difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return matches[0] if matches else None


def settings_error(problem: ValidationError, model: type[BaseModel], document: Document) -> SettingsError:
    """Return one error for all that pydantic found: the first in the file is the message, the others are its log."""
    details_by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in problem.errors(include_url=False):
        details_by_path.setdefault(_written(detail, document.data), []).append(detail)
    errors = [_one(path, details, model, document) for path, details in _outermost(details_by_path)]
    errors.sort(key=lambda error: (error.file != document.file, *_order(error)))
    first, others = errors[0], errors[1:]
    first.log = tuple(f"{error}" + (f" ({error.hint})" if error.hint else "") for error in others)
    return first


def _order(error: SettingsError) -> tuple[int, bool]:
    """By place; a key that is missing comes after one that is unknown, which is often the same key misspelt."""
    return error.line or 0, error.message.endswith("is missing")


def _written(detail: ErrorDetails, data: Any) -> KeyPath:
    """Return the error's place without the steps that pydantic adds for unions and validators."""
    path: list[str | int] = []
    for step in detail["loc"]:
        if _has(data, step):
            data = data[step]
        elif detail["type"] in ("missing", "extra_forbidden") and step == detail["loc"][-1] and isinstance(data, dict):
            data = None
        else:
            continue
        path.append(step)
    cause = detail.get("ctx", {}).get("error")
    return (*path, *cause.key) if isinstance(cause, Misplaced) else tuple(path)


def _has(data: Any, step: str | int) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and step < len(data)


def _outermost(details_by_path: dict[KeyPath, list[ErrorDetails]]) -> Iterable[tuple[KeyPath, list[ErrorDetails]]]:
    """Of errors above one another only the deeper: a union complains at its own place about what is wrong inside."""
    for path, details in details_by_path.items():
        if not any(len(other) > len(path) and other[: len(path)] == path for other in details_by_path):
            yield path, details


def _most_telling(details: list[ErrorDetails]) -> ErrorDetails:
    order = {"extra_forbidden": 0, "missing": 1, "value_error": 2}
    return min(details, key=lambda detail: order.get(detail["type"], 3))


def _one(path: KeyPath, details: list[ErrorDetails], model: type[BaseModel], document: Document) -> SettingsError:
    detail = _most_telling(details)
    mark = document.mark(*path)
    shown = _dotted(path)
    described = meaning(model, path)
    hint = f"{described[0]}, such as {_last_name(path)}: {described[1]}" if described else None
    kind = detail["type"]
    if kind == "extra_forbidden":
        near = nearest(str(path[-1]), keys_at(model, path[:-1]))
        message = f"unknown key {shown}"
        hint = f"did you mean {near}?" if near else f"known keys here: {', '.join(keys_at(model, path[:-1]))}"
        hint = _ELSEWHERE.get(str(path[0]), hint) if len(path) == 1 else hint
    elif kind == "missing":
        message = f"{shown} is missing"
    elif kind == "value_error" and isinstance(cause := detail.get("ctx", {}).get("error"), UnknownName):
        message, hint = f"{shown} {cause}", cause.hint
    elif kind == "value_error":
        words = detail["msg"].removeprefix("Value error, ")
        message, hint = (f"{shown}: {words}" if shown else words), None
    elif len(details) > 1 and described:
        message, hint = f"{shown} must be {described[0]}", f"such as {_last_name(path)}: {described[1]}"
    else:
        message = f"{shown or 'the file'} {_expected(detail)}"
    return SettingsError(message, file=mark.file, line=mark.line, hint=hint)


def _expected(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return f"must be one of {context['expected']}".replace("'", "")
    if kind.startswith(("model", "dict")):
        return "must be a map of keys and values"
    if kind.startswith(("tuple", "list")):
        return "must be a list"
    if kind.startswith("string_"):
        return "must be text (numbers, true and false in quotes)" if kind == "string_type" else "must not be empty"
    if kind.startswith("int_"):
        return "must be a whole number"
    if kind.startswith("float_"):
        return "must be a number"
    if kind.startswith("bool_"):
        return "must be true or false"
    if kind == "too_short":
        return "must not be empty"
    limits = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for key, words in limits.items():
        if key in context:
            return f"must be {words} {context[key]}"
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _dotted(path: KeyPath) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
    return text


def _last_name(path: KeyPath) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")
