"""A value changed in a file that a person wrote: the diff is that value."""

from __future__ import annotations

import pytest

from deployer.errors import SettingsError
from deployer.settings.yaml.edit import set_value

CASES = {
    "there is one": ("app: shop\ninstances: 2   # two a host\nport: 8000\n", "instances: 4   # two a host"),
    "there is none": ("app: shop  # ours\n", "app: shop  # ours\ninstances: 4\n"),
    "no newline at the end": ("app: shop", "app: shop\ninstances: 4\n"),
    "an empty file": ("", "instances: 4\n"),
    "only a comment": ("# nothing yet\n", "# nothing yet\ninstances: 4\n"),
    "no value": ("app: shop\ninstances:\nport: 8000\n", "instances: 4\n"),
    "a flow map": ("{app: shop, port: 8000}\n", "{instances: 4, app: shop, port: 8000}\n"),
}
DEEP = {
    "a block": ("runtime:\n  # how it runs\n  server: uvicorn\napp: shop\n", "  workers: 4\n  server: uvicorn\n"),
    "a value in a block": ("runtime:\n  workers: auto  # enough\n", "  workers: 4  # enough\n"),
    "a flow map": ("runtime: {server: uvicorn}\n", "runtime: {workers: 4, server: uvicorn}\n"),
    "an empty one": ("runtime: {}\n", "runtime: {workers: 4}\n"),
    "no value": ("runtime:\napp: shop\n", "runtime: {workers: 4}\napp: shop\n"),
    "none": ("app: shop\n", "app: shop\nruntime: {workers: 4}\n"),
}


@pytest.mark.parametrize(("before", "shows"), CASES.values(), ids=CASES)
def test_a_key_at_the_top(before: str, shows: str) -> None:
    after = set_value(before, ("instances",), 4, "deploy.yaml")
    assert shows in after and set_value(after, ("instances",), 4, "deploy.yaml") == after
    assert len(after.splitlines()) - len(before.splitlines()) in (0, 1)


@pytest.mark.parametrize(("before", "shows"), DEEP.values(), ids=DEEP)
def test_a_key_below_another(before: str, shows: str) -> None:
    assert shows in set_value(before, ("runtime", "workers"), 4, "deploy.yaml")


def test_a_word_is_written_as_a_word() -> None:
    assert set_value("runtime: {workers: 2}\n", ("runtime", "workers"), "auto", "x") == "runtime: {workers: auto}\n"


def test_what_cannot_be_changed_by_itself_is_left_to_a_person() -> None:
    shared = "a: &size 3\ninstances: *size\n"
    with pytest.raises(SettingsError, match="instances cannot be changed there") as refused:
        set_value(shared, ("instances",), 4, "deploy.yaml")
    assert refused.value.hint == "write instances: 4 yourself"
