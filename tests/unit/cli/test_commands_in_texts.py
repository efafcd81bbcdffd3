"""Every `deploy …` that a text of the program tells a person to type is a command, with options, that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import deployer
from deployer.cli.app import app

PACKAGE = Path(deployer.__file__).parent
REPOSITORY = PACKAGE.parent
HOLE = "\0"  # what an f-string fills in
ENVIRONMENTS = (HOLE, "{env}", "lab", "prod")
_COMMAND = re.compile(r"(?<![\w/.'-])deploy ((?:[a-z]|--)[a-z-]*)")
_CLAUSE_END = re.compile(r"[;,()`\n…]|\. |: |, | and | or |\.$")
# What follows the program's name in a sentence about it.
_PROSE = {
    "itself", "does", "has", "is", "can", "cannot", "did", "here", "makes", "made", "never", "needs", "reads", "puts",
    "knows", "renders", "then", "must", "writes", "takes", "for", "of", "the", "in", "would", "user", "group", "and",
    "a", "to", "wrote", "on", "from", "manages", "starts", "configures", "write",
    "only", "could", "sets", "uses", "applies",
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """One string of the code, with `HOLE` for each value that is filled in."""

    where: str
    value: str


@cache
def texts() -> list[Text]:
    return list(_read())


def _read() -> Iterator[Text]:
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) in prose or id(node) in inner:
                continue
            where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield Text(where, re.sub(r"%[sdgr]", HOLE, node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
                yield Text(where, "".join(map(str, parts)))


def commands() -> dict[str, Any]:
    """The commands by name; those of a group as `lab up`."""
    group: Any = typer.main.get_command(app)
    known: dict[str, Any] = {}
    for name, command in group.commands.items():
        known[name] = command
        for below, inner in getattr(command, "commands", {}).items():
            known[f"{name} {below}"] = inner
    return known


def mistakes(text: str, known: dict[str, Any]) -> Iterator[str]:
    if text.removeprefix("deploy ") in known:  # a name, not an advice
        return
    for match in _COMMAND.finditer(text):
        word = match[1].rstrip("-")
        rest = _CLAUSE_END.split(text[match.end() :], maxsplit=1)[0].split()
        if word in known and not hasattr(known[word], "commands"):
            yield from wrong_words(word, rest, known[word])
        elif rest and f"{word} {rest[0]}" in known:
            yield from wrong_words(f"{word} {rest[0]}", rest[1:], known[f"{word} {rest[0]}"])
        elif word not in _PROSE:
            yield f"deploy {word} is not a command"


def wrong_words(name: str, words: list[str], command: Any) -> Iterator[str]:
    options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    arguments = [one.name for one in command.params if one.param_type_name == "argument"]
    for word in words:
        if re.match(r"--?[a-z]", word) and word.partition("=")[0].strip("'\"") not in options:
            yield f"deploy {name} has no option {word}"
        if word in ("--", "--yes", "--command"):
            break
    if "env" in arguments:
        first = words[0] if words else ""
        if "-c" not in words and not first.startswith(ENVIRONMENTS):
            yield f"deploy {name} {first} does not name the environment"


def test_the_search_finds_mistakes() -> None:
    known = commands()
    assert list(mistakes("deploy psh prod", known)) == ["deploy psh is not a command"]
    assert list(mistakes("type deploy push {env} --wiat 5m", known)) == ["deploy push has no option --wiat"]
    assert list(mistakes("see: deploy status shows it", known)) == ["deploy status shows does not name the environment"]
    assert list(mistakes("deploy lab upp", known)) == ["deploy lab is not a command"]
    assert not list(mistakes(f"deploy push {HOLE} --wait 5m heals it; deploy lab up --name x", known))


def test_every_command_in_a_text_exists() -> None:
    known = commands()
    wrong = [f"{text.where}: {mistake}" for text in texts() for mistake in mistakes(text.value, known)]
    assert not wrong, "\n".join(wrong)


_TOLD_TO_REPEAT = re.compile(r"\b(push|run|try|do|type) (it |that |the same )?again\b|same command again|^mend ", re.I)


def test_whoever_is_told_to_do_something_again_is_told_the_command() -> None:
    """A hint such as "mend it and push again" leaves a person to find out what to type, with which environment."""
    vague = [text for text in texts() if _TOLD_TO_REPEAT.search(text.value) and not _names_a_command(text.value)]
    wrong = [f"{text.where}: {text.value!r}" for text in vague if text.value not in _COMPLETED]
    assert not wrong, "\n".join(wrong)


def _names_a_command(text: str) -> bool:
    return bool(_COMMAND.search(text)) or re.search(rf"deploy ({{command}}|{HOLE})", text) is not None


_COMPLETED = {"incorrect password|sorry, try again|no password was provided"}
"""What sudo says, which is only compared."""


def test_the_examples_in_the_help_work() -> None:
    known = commands()
    lines = [line for command in known.values() for line in (command.help or "").splitlines()]
    examples = [line.partition("Example: ")[2] for line in lines if "Example: " in line]
    assert len(examples) > 15
    assert not [mistake for example in examples for mistake in mistakes(f"type {example}", known)]


def test_the_commands_in_the_documents_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ENVIRONMENTS", (*ENVIRONMENTS, "live", "staging", "ENV"))
    known = commands()
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "examples").rglob("*.md")]
    lines = [(page, number, line) for page in pages for number, line in numbered_code(page)]
    assert sum("deploy " in line for _, _, line in lines) > 100
    wrong = [f"{page}:{number}: {mistake}" for page, number, line in lines for mistake in mistakes(line, known)]
    assert not wrong, "\n".join(wrong)


def numbered_code(page: Path) -> Iterator[tuple[int, str]]:
    """The code of a Markdown page: lines of blocks, and what stands between backticks."""
    block = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        if line.startswith("```"):
            block = not block
        else:
            for code in [line] if block else re.findall(r"`([^`]+)`", line):
                yield number, code


def test_no_text_shows_a_placeholder() -> None:
    """`{env}` is filled in where errors and warnings are shown; nothing fills in ENV or HOST."""
    shown = [text for text in texts() if re.search(r"\b(deploy|ssh) [^\n]*\b(ENV|HOST|APP)\b", text.value)]
    assert not [text for text in shown if not text.where.startswith("cli/")], "\n".join(text.where for text in shown)
