"""Texts for people stay plain: short sentences in the docs, an actor in every message, docstrings that stand alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import deployer

PACKAGE = Path(deployer.__file__).parent
ROOT = PACKAGE.parent
MOST_WORDS = 35
# Their docstrings are older.
OLDER_DOCSTRINGS = ("agent", "rollout", "probe", "roles")
DOCS = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")})
# The fields of a message in docs/operations.md: a list, not a sentence.
_FIELDS = re.compile(r"(`\w+`: )?\*\*(Request|Response)?( ?`\w+`)?\*\*: ")

VAGUE = {
    "is not a valid X": re.compile(r"\b(is|are|was|were) no (?!longer|more\b|such)\w"),
    "an actor": re.compile(r"\b(whoever|nobody|somebody|anybody)\b", re.I),
    "when": re.compile(r"\bof (before|then)\b"),
    "per host": re.compile(
        r"\b(one|two|\d+|requests|instances|workers|servers|lines) (a|an) (host|second|line|app|slot)\b"
    ),
    "an instruction, not an answer": re.compile(r"\b(was|were|is|are) (told|said|asked)\b"),
}


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of a Markdown text, with the line of their paragraph. Code is one word; a cell is a paragraph."""
    for line, paragraph in _paragraphs(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "X", paragraph)).replace("**", "")
        for sentence in re.split(r"(?<=[.!?])\)?\s+", plain):
            yield line, sentence


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    words: list[str] = []
    start, code = 1, False
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        line = raw.strip()
        item = re.match(r"([-*]|\d+\.)\s", line)
        fence, row = line.startswith("```"), line.startswith("|")
        if _FIELDS.match(line):
            continue
        if words and (not line or fence or row or item or line.startswith("#")):
            yield start, " ".join(words)
            words = []
        code = code != fence
        if code or fence or not line:
            continue
        if row:
            yield from ((number, cell.strip()) for cell in re.split(r"(?<!\\)\|", line.strip("|")))
            continue
        start = start if words else number
        words.append(line[item.end() :] if item else line)


def long_sentences(text: str) -> list[tuple[int, int]]:
    """Line and words of every sentence that is too long."""
    counted = (
        (line, sum(bool(re.search(r"\w", word)) for word in sentence.split())) for line, sentence in sentences(text)
    )
    return [(line, words) for line, words in counted if words > MOST_WORDS]


def test_long_sentences_are_recognised() -> None:
    word = "word "
    assert long_sentences(f"# Title\n\n{word * 20}\n{word * 16}end.\n") == [(3, 37)]
    assert long_sentences(f"- {word * 30}end. {word * 30}end.\n- {word * 35}\n\n| {word * 36}| {word * 30}|\n") == [
        (4, 36)
    ]
    assert not long_sentences(f"```\n{word * 50}\n```\n`{word * 50}` is code.\n")
    assert long_sentences(f"**Request `Drain`**: {'`key: text`, ' * 50}\n{word * 36}\n") == [(2, 36)]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_no_sentence_of_the_docs_is_long(path: Path) -> None:
    too_long = [f"{path.name}:{line}: {words} words" for line, words in long_sentences(path.read_text("utf-8"))]
    assert not too_long, "write two sentences: " + ", ".join(too_long)


@cache
def _modules(left_out: tuple[str, ...]) -> list[tuple[str, ast.Module]]:
    names = (path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py")))
    kept = [name for name in names if not name.startswith(tuple(f"{folder}/" for folder in left_out))]
    return [(name, ast.parse((PACKAGE / name).read_text("utf-8"))) for name in kept]


@cache
def _all_messages() -> list[tuple[str, str]]:
    return [(f"{name}:{line}", text) for name, tree in _modules(()) for line, text in messages(tree)]


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The texts of a module that may be shown: strings of several words, but no docstrings. `…` stands for values."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in prose or id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield node.lineno, "".join(parts)


def test_vague_messages_are_recognised() -> None:
    code = 'def f(x):\n    """Nobody sees this."""\n    raise ValueError(f"{x} is no host")\n'
    assert [rule for _, text in messages(ast.parse(code)) for rule, vague in VAGUE.items() if vague.search(text)] == [
        "is not a valid X"
    ]
    assert VAGUE["an actor"].search("nobody serves") and VAGUE["when"].search("the release of before")
    assert VAGUE["per host"].search("requests a second") and not VAGUE["per host"].search("reaches a host")
    assert not VAGUE["is not a valid X"].search("it is no longer there")


@pytest.mark.parametrize("rule", VAGUE)
def test_messages_say_it_plainly(rule: str) -> None:
    vague = [f"{where}: {text!r}" for where, text in _all_messages() if VAGUE[rule].search(text)]
    assert not vague, f"write {rule}:\n" + "\n".join(vague)


# A noun phrase continues the function's name, and says nothing alone.
_NOUN_PHRASE = re.compile(r"(The|A|An|Whether|Every|All|Why|How) ")
_VALUES = {"property", "cached_property", "contextmanager"}


def test_docstrings_of_functions_are_instructions() -> None:
    """ "Return the hosts …", not "The hosts …". What reads as a value (a property) is described as one."""
    phrases = []
    for name, tree in _modules(OLDER_DOCSTRINGS):
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("__"):
                continue
            marks = {ast.unparse(mark).split("(")[0].rpartition(".")[2] for mark in node.decorator_list}
            returns = node.returns is not None and ast.unparse(node.returns) != "None"
            if returns and not marks & _VALUES and _NOUN_PHRASE.match(ast.get_docstring(node) or ""):
                phrases.append(f"{name}:{node.lineno}: {node.name}")
    assert not phrases, "begin with a verb: " + ", ".join(phrases)
