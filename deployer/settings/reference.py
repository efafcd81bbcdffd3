"""What the keys of `deploy.yaml` are and what they are for, as its models say it; hints and the schema come from it."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from deployer.settings.yaml.flow import flow

Default = TypeVar("Default")


def setting(default: Default, words: str, example: Any, alias: str | None = None) -> Default:
    """Return a key that may be left out: its default, what it is for, and an example of its value."""
    return Field(default=default, description=words, examples=[example], alias=alias)


def meaning(model: type[BaseModel], path: Sequence[str | int]) -> tuple[str, str] | None:
    """Return what the key at `path` is for, and an example of its value as YAML; None where only a key above it is
    described.

    Items of a list mean what the list does.
    """
    for kind in _kinds_at(model, [step for step in path if isinstance(step, str)]):
        for field in get_args(kind)[1:] if get_origin(kind) is Annotated else ():
            if isinstance(field, FieldInfo) and field.description:
                return field.description, flow(field.examples[0]) if field.examples else ""
    return None


def keys_at(model: type[BaseModel], path: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys that `model` knows at `path`, in its order; none where names are the user's own."""
    for kind in _kinds_at(model, path):
        for member in _members(kind):
            if isinstance(member, type) and issubclass(member, BaseModel):
                return tuple(field.alias or name for name, field in member.model_fields.items())
    return ()


def _kinds_at(model: type[BaseModel], path: Sequence[str | int]) -> list[Any]:
    """Return the types that a value at `path` may have."""
    kinds: list[Any] = [model]
    for step in path:
        kinds = [below for kind in kinds for member in _members(kind) for below in _below(member, step)]
    return kinds


def _below(kind: Any, step: str | int) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if step in (name, field.alias):
                yield Annotated[field.annotation, field]
    elif arguments := get_args(kind):
        yield arguments[-1] if isinstance(step, str) else arguments[0]


def _members(kind: Any) -> list[Any]:
    """`kind`, or the members of a union, without annotations."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [inner for member in get_args(kind) for inner in _members(member)]
    return [kind]
