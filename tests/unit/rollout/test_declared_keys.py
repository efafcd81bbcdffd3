"""Every key that the controller reads of an agent's answer is declared in `deployer.remote.messages.responses`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from whole import Commands, Hosts

from deployer.remote.messages import responses

Path = tuple[str, ...]
"""The keys that lead to a value in an answer."""
Note = Callable[[Path], None]

FREE = {
    ("logs.read", "cursor"): "is handed back as it came",
    ("adopting.retire", "busy"): "its values are shown as they are",
    ("host.survey", "instance"): "a number, or the label of a process",
}
"""Keys of which a shape takes any value, and why."""


class Traced(dict[str, Any]):
    """A map of an answer that notes which of its keys are read."""

    def __init__(self, items: Any, note: Note = lambda path: None, path: Path = ()) -> None:
        super().__init__({key: _traced(item, note, (*path, key)) for key, item in dict(items).items()})
        self._note, self._path = note, path

    def __getitem__(self, key: str) -> Any:
        self._note((*self._path, key))
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._note((*self._path, key))
        return super().get(key, default)


def _traced(value: Any, note: Note, path: Path) -> Any:
    if isinstance(value, dict):
        return Traced(value, note, path)
    return (
        [_traced(item, note, (*path, str(index))) for index, item in enumerate(value)]
        if isinstance(value, list)
        else value
    )


class TracedHosts(Hosts):
    """Notes every key that the controller reads, with the answer that it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[Path, tuple[str, Mapping[str, Any], dict[str, Any]]] = {}

    def call(self, host: str, operation: str, args: Mapping[str, Any]) -> dict[str, Any]:
        value = super().call(host, operation, args)

        def note(path: Path) -> None:
            self.read.setdefault((operation, *path), (operation, args, value))

        return Traced(value, note, ())


def undeclared(operation: str, args: Mapping[str, Any], value: dict[str, Any], path: Path) -> bool:
    """Whether an answer with something impossible at that place would be taken."""
    if (operation, path[-1]) in FREE:
        return False
    wrong = json.loads(json.dumps(value))
    part = wrong
    for key in path[:-1]:
        part = part[int(key)] if isinstance(part, list) else part[key]
    part[path[-1]] = float("nan")  # which no shape takes
    try:
        responses.require_expected("web1", operation, args, wrong)
    except responses.UnexpectedResponse:
        return False
    return True


@pytest.mark.parametrize(
    "words",
    [
        *(("push", "prod", "--yes"), ("rollback", "prod", "--yes"), ("status", "prod"), ("logs", "prod")),
        *(("doctor", "prod"), ("history", "prod"), ("releases", "prod"), ("plan", "prod"), ("prune", "prod")),
        *(("verify", "prod"), ("reload", "prod", "--yes")),
    ],
    ids=lambda words: words[0],
)
def test_every_key_that_the_controller_reads_is_declared(words: Path, commands: Commands) -> None:
    hosts = commands.hosts = TracedHosts()
    result = commands.run(*words)
    assert result.exit_code == 0, result.stderr
    assert hosts.read
    assert [
        path for path, (operation, args, value) in hosts.read.items() if undeclared(operation, args, value, path[1:])
    ] == []
