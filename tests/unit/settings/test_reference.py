"""The one table of keys: complete, and every example in it is valid."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from deployer.errors import SettingsError
from deployer.settings.models import Settings
from deployer.settings.reference import REFERENCE
from deployer.settings.schema import schema
from deployer.settings.validation_errors import keys_at
from deployer.settings.yaml.document import parse_document


def keys(path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name in keys_at(Settings, path):
        found += [(*path, name), *keys((*path, name))]
    return found


def test_every_key_is_described_and_nothing_else_is() -> None:
    named = {".".join(path) for path in keys()}
    described = {dotted for dotted in REFERENCE if "*" not in dotted}
    inside = {one for one in named if one.startswith(("tls.", "hooks.")) and one.count(".") > (one[0] == "h")}
    assert described == named - inside


@pytest.mark.parametrize("dotted", [one for one in REFERENCE if one not in ("runtime.command", "secrets.*.env")])
def test_every_example_is_valid(dotted: str) -> None:
    needed: dict[str, Any] = {"rolling.probe": {"url": "http://a/"}, "static": {"url": "/s/", "dir": "s"}}
    value = parse_document(f"x: {REFERENCE[dotted][1]}", "example", SettingsError).data["x"]
    for step in reversed(dotted.split(".")[1:]):
        if step != "*" or not isinstance(value, dict):
            pass
        value = {("some" if step == "*" else step): value}
    top = dotted.split(".")[0]
    if dotted.startswith("processes.*"):
        value = {"some": {"command": "x"} | value["some"]}
    if dotted.startswith("schedules.*"):
        value = {"some": {"command": "x", "cron": "0 3 * * *"} | value["some"]}
    if dotted.startswith("rolling.probe."):
        value = {"probe": needed["rolling.probe"] | value["probe"]}
    if dotted.startswith("static."):
        value = needed["static"] | value
    Settings.model_validate({"app": "shop"} | {top: value})


def test_the_schema_forbids_unknown_keys_and_describes_known_ones() -> None:
    made = schema()
    assert made["additionalProperties"] is False
    assert made["required"] == ["app"]
    assert "such as shop" in made["properties"]["app"]["description"]
    assert "with" in made["$defs"]["Python"]["properties"]
    assert made["$defs"]["HealthCheck"]["properties"]["path"]["description"].startswith("path that is asked")


def test_all_models_refuse_unknown_keys() -> None:
    for found in vars(__import__("deployer.settings.models", fromlist=["x"])).values():
        if isinstance(found, type) and issubclass(found, BaseModel) and found is not BaseModel:
            assert found.model_config.get("extra") == "forbid"
