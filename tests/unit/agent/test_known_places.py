"""A balancer that deploy does not configure, and a server that came to another address: nothing is called drained.

The balancer is a folder with a file for each address, which the user's commands read and write.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.balancer import operations as balancer
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError
from deployer.balancers import Pool, Server
from deployer.balancers.command import Command

TOOL = """
f={folder}/$DEPLOY_ADDRESS
case $1 in
    state) cat $f 2>/dev/null || echo down ;;
    drain) test ! -e $f || echo down > $f ;;
    admit) echo ready > $f ;;
esac
"""
OLD, NEW = "192.0.2.1", "198.51.100.1"


class Balancer:
    """The user's balancer, and an inventory that has the server at `address`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = OLD
        self.site = Site("shop", "prod", f"{folder}/srv", prefix=str(folder))
        (folder / "srv/.deploy").mkdir(parents=True)
        (folder / "tool").write_text(TOOL.format(folder=folder))
        self.says(OLD, "ready")

    def says(self, address: str, word: str) -> None:
        (self.folder / address).write_text(word + "\n")

    def call(self, verb: str, **args: Any) -> dict[str, Any]:
        health: Any = None
        options = {"timeout": 10.0, **{each: f"sh {self.folder}/tool {each}" for each in ("drain", "admit", "state")}}
        servers = (Server("web1-8000", self.address, 8000, "web1:0"),)
        driver = Command().driver(Pool(self.site, "theirs", servers, health, options=options))
        given = {"site": self.site.to_wire(), "run": "run-1", "driver": driver, "servers": ["web1-8000"], **args}
        answer: dict[str, Any] = getattr(balancer, verb)(Context(identity="me@here"), given)
        return answer

    @property
    def places(self) -> Any:
        return json.loads((self.folder / "srv/.deploy/places.json").read_text())


@pytest.fixture
def theirs(tmp_path: Path) -> Balancer:
    return Balancer(tmp_path)


def test_what_serves_is_remembered_as_a_run_begins(theirs: Balancer) -> None:
    theirs.call("recover")
    assert theirs.places == {"web1-8000": [f"{OLD}:8000"]}
    assert theirs.call("elsewhere") == {"servers": {}}


def test_one_that_gets_requests_at_its_earlier_address_is_not_called_drained(theirs: Balancer) -> None:
    theirs.call("recover")
    theirs.address = NEW
    theirs.says(NEW, "ready")
    theirs.call("recover")
    assert theirs.call("elsewhere") == {"servers": {"web1-8000": [f"{OLD}:8000"]}}
    with pytest.raises(OpError) as raised:
        theirs.call("drain", by="person", timeout=1)
    assert raised.value.code == "old_address" and f"{OLD}:8000" in raised.value.message
    assert (theirs.folder / NEW).read_text() == "ready\n"  # nothing was taken out


@pytest.mark.parametrize("word", ["down", None])
def test_one_whose_earlier_address_gets_none_any_more_is_drained(theirs: Balancer, word: str | None) -> None:
    theirs.call("recover")
    theirs.address = NEW
    theirs.says(NEW, "ready")
    if word:
        theirs.says(OLD, word)
    else:
        (theirs.folder / OLD).unlink()
    assert theirs.call("drain", by="person", timeout=5)["servers"]["web1-8000"]["drained"]
    theirs.call("admit", by="person", wait=5)
    assert theirs.places == {"web1-8000": [f"{NEW}:8000"]}


def test_requests_in_flight_at_the_earlier_address_count(theirs: Balancer) -> None:
    theirs.call("recover")
    theirs.address = NEW
    theirs.says(NEW, "ready")
    theirs.says(OLD, "drain 1")
    with pytest.raises(OpError, match="still sends requests"):
        theirs.call("drain", by="person", timeout=1)


def test_an_earlier_address_stays_remembered_while_it_gets_requests(theirs: Balancer) -> None:
    theirs.call("recover")
    theirs.address = NEW
    theirs.says(NEW, "ready")
    theirs.call("recover")
    assert theirs.places == {"web1-8000": [f"{NEW}:8000", f"{OLD}:8000"]}
