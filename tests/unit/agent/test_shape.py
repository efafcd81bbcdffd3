"""What a message has to look like, and what is said of one that does not."""

from __future__ import annotations

import ast
import io
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.channel import protocol
from deployer.agent.channel.outbox import Outbox
from deployer.agent.channel.session import Session
from deployer.agent.model import messages
from deployer.agent.model.layout import Site
from deployer.agent.model.messages import balancer, instances, lock, resources
from deployer.agent.model.shape import shape_of
from deployer.agent.model.supervision import Health, Instance, Verbs
from deployer.agent.model.typed import MESSAGES
from deployer.agent.operation import Context, OpError, call, longest_of
from deployer.remote.messages.responses import OPERATIONS

SITE = asdict(Site("shop", "prod", "/srv/shop"))
INSTANCE = asdict(Instance(0, 8000, "127.0.0.1", Verbs("shop", ("a",), ("b",), ("c",), ("d",)), Health()))


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ""),
        ({"more": 1}, ""),
        ({"wait": 3}, ""),
        ({"command": None}, ""),
        ({"run": None}, "run is null, not text"),
        ({"run": ...}, "run is missing"),
        ({"site": []}, "site is a list of 0, not a map"),
        ({"site": {"app": "shop", "env": 1, "root": "/"}}, "site.env is 1, not text"),
        ({"wait": -1}, "wait is -1, not a finite, non-negative number"),
        ({"wait": math.nan}, "wait is NaN, not a finite, non-negative number"),
        ({"wait": True}, "wait is true, not a finite, non-negative number"),
        ({"wait": 10**30}, "wait is a number beyond 64 bits, not a finite, non-negative number"),
    ],
)
def test_a_request_is_told_where_it_is_wrong(changes: dict[str, Any], wrong: str) -> None:
    request = {"site": SITE, "run": "r", "who": "me", **changes}
    assert shape_of(lock.TakeLock)({key: value for key, value in request.items() if value is not ...}, "") == wrong


@pytest.mark.parametrize(
    ("instance", "wrong"),
    [
        ({}, ""),
        ({"graceful": ...}, ""),
        ({"port": ...}, "instance.port is missing"),
        ({"verbs": {**INSTANCE["verbs"], "start": ["a", 1]}}, "instance.verbs.start[1] is 1, not text"),
        ({"health": {"headers": {"a": None}}}, "instance.health.headers.a is null, not text"),
    ],
)
def test_a_dataclass_is_checked_by_its_own_fields(instance: dict[str, Any], wrong: str) -> None:
    wire = {key: value for key, value in {**INSTANCE, **instance}.items() if value is not ...}
    request = {"site": SITE, "run": "r", "instance": wire, "release": "x"}
    assert shape_of(instances.SwitchInstance)(request, "") == wrong


def test_resources_are_told_apart_by_their_kind() -> None:
    def wrong(**resource: object) -> str:
        return shape_of(resources.ApplyResources)({"site": SITE, "resources": [resource]}, "")

    assert wrong(kind="link", path="/a", target="/b") == ""
    assert wrong(kind="link", path="/a") == "resources[0].target is missing"
    assert wrong(kind="lnk", path="/a").startswith('resources[0].kind is "lnk", not one of package, user,')


def test_names_of_maps_count_too() -> None:
    stats = {"requests": 1, "failed": 0, "lost": 0, "times": {"4 ms": 1}}
    assert shape_of(balancer.Stats)({"servers": {"web1-8000": stats}}, "") == (
        'servers.web1-8000.times has the key "4 ms", not milliseconds'
    )


def test_no_two_messages_have_one_name() -> None:
    """A response names the messages of other modules by their names alone (`typed.MESSAGES`)."""
    declared = [
        f"{path.stem}.{node.name}"
        for path in Path(messages.__path__[0]).glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    names = [name.partition(".")[2] for name in declared]
    assert sorted(names) == sorted(set(names)) and set(names) <= set(MESSAGES)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_message_can_be_read(name: str) -> None:
    assert shape_of(OPERATIONS[name].request)(None, "") == "the message is null, not a map"
    assert shape_of(OPERATIONS[name].response)([], "") == "the message is a list of 0, not a map"


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_malformed_request_is_one_error_and_nothing_is_done(name: str) -> None:
    for args in ({}, {"site": 5}, {"site": SITE, "instance": {}, "driver": 3}):
        if shape_of(OPERATIONS[name].request)(args, ""):
            with pytest.raises(OpError) as refused:
                call(name, Context(), args)
            assert refused.value.code == "malformed_request"
            assert refused.value.message.startswith(f"the request for {name} is malformed: ")
        assert longest_of(name, args) > 0


def test_a_session_answers_a_malformed_request_with_one_error() -> None:
    sent: list[dict[str, Any]] = []

    class Written(Outbox):
        def __init__(self) -> None:
            pass

        def send(self, head: dict[str, Any], urgent: bool = False) -> None:
            sent.append(head)

    requests = [
        {"t": "request", "id": 1, "op": "lock.take", "args": {"site": SITE, "run": 5}, "lane": "side"},
        {"t": "request", "id": 2, "op": "instance.switch", "args": {"site": SITE}, "lane": "side"},
    ]
    session = Session(io.BytesIO(), Written())
    for head in requests:
        session._take(protocol.Frame(head, b""))
    for thread in session._side:
        thread.join(10)
    assert sorted((head["id"], head["code"], len(head["log"])) for head in sent if head["t"] == "error") == [
        (1, "malformed_request", 0),
        (2, "malformed_request", 0),
    ]
