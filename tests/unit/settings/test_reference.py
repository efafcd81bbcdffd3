"""Every key of the settings is described, and every example in its description is valid."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from deployer.errors import SettingsError
from deployer.settings import models
from deployer.settings.models import HostOverrides, Settings
from deployer.settings.reference import keys_at, meaning
from deployer.settings.schema import schema
from deployer.settings.yaml.document import parse_document
from deployer.settings.yaml.flow import flow

OF_THE_USER = ("processes", "schedules", "secrets")
"""Keys that hold names of the user's own."""
REQUIRED: dict[tuple[str, ...], dict[str, Any]] = {
    ("static",): {"url": "/static/", "dir": "static"},
    ("rolling", "probe"): {"url": "http://shop.example.com/"},
    ("processes", "some"): {"command": "work"},
    ("schedules", "some"): {"command": "work", "cron": "@daily"},
    **{("hooks", name): {"command": "work"} for name in models.Hooks.model_fields},
}
"""A key → what must be written below it."""
COMPANION: dict[tuple[str, ...], dict[str, Any]] = {
    ("tls", "certificate"): {"key": "SHOP_TLS_KEY"},
    ("tls", "key"): {"certificate": "shop.pem"},
}


def keys(model: type[BaseModel], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    holder = (*path, "some") if path and path[-1] in OF_THE_USER else path
    below = [(*holder, name) for name in keys_at(model, holder)]
    return below + [key for path in below for key in keys(model, path)]


@pytest.mark.parametrize("model", [Settings, HostOverrides])
def test_every_key_is_described(model: type[BaseModel]) -> None:
    assert [path for path in keys(model) if meaning(model, path) is None] == []


@pytest.mark.parametrize("path", keys(Settings), ids=".".join)
def test_every_example_is_valid(path: tuple[str, ...]) -> None:
    described = meaning(Settings, path)
    assert described is not None
    value = parse_document(f"x: {described[1]}", "example", SettingsError).data["x"]
    document = {**REQUIRED.get(path[:-1], {}), **COMPANION.get(path, {}), path[-1]: value}
    for step in reversed(path[:-1]):
        document = {step: document}
    Settings.model_validate({"app": "shop"} | document)


def test_a_name_of_the_users_own_means_what_the_value_below_it_does() -> None:
    assert meaning(Settings, ("secrets", "TOKEN")) == ("one source of a secret", "{env: DATABASE_URL}")
    assert meaning(Settings, ("processes", "worker")) is None
    assert meaning(Settings, ("rolling", "waves", 1)) == meaning(Settings, ("rolling", "waves"))


def test_the_schema_forbids_unknown_keys_and_describes_known_ones() -> None:
    made = schema()
    assert made["additionalProperties"] is False
    assert made["required"] == ["app"]
    assert made["properties"]["app"]["examples"] == ["shop"]
    assert "with" in made["$defs"]["Python"]["properties"]
    assert made["$defs"]["HealthCheck"]["properties"]["path"]["description"].startswith("path of the health check")


def test_all_models_refuse_unknown_keys() -> None:
    for kind in vars(models).values():
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel:
            assert kind.model_config.get("extra") == "forbid"


@pytest.mark.parametrize(
    "text", ["true", "False", "null", ".5", ".inf", "1", "1.5", "a: b", "5s", "25%", "shop:app", "-x"]
)
def test_text_stays_text_in_an_example(text: str) -> None:
    assert parse_document(f"x: {flow(text)}", "example", SettingsError).data["x"] == text
