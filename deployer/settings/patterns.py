"""`source.exclude`: which paths stay at home. A small part of gitignore's language.

`tests/` any folder of that name · `*.log` any name · `/docs` or `a/b` from the top · `a/**/b` any depth between
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ALWAYS = (".git", ".hg", ".svn", ".venv", "__pycache__", "*.pyc", ".DS_Store")


class Exclude:
    """The patterns of one source, and those that always hold.

    Args:
        patterns: as the user wrote them, relative to what is shipped.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._rules = [_rule(pattern) for pattern in (*ALWAYS, *patterns) if pattern.strip("/")]

    def __call__(self, path: str, folder: bool) -> bool:
        """Whether the relative `path` stays at home; excluded folders are not searched."""
        return any(rule.fullmatch(path) for rule, folders_only in self._rules if folder or not folders_only)


def as_dockerignore(patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the same in a .dockerignore's words, for what always holds and `patterns`.

    There a pattern has no way to mean folders alone, and one without a slash counts at the top only.
    """
    lines = []
    for pattern in (*ALWAYS, *patterns):
        words = pattern.rstrip("/").removeprefix("./")
        if words:
            lines.append(words.lstrip("/") if "/" in words else f"**/{words}")
    return tuple(dict.fromkeys(line.replace("[!", "[^") for line in lines))


def checked(pattern: str) -> str:
    """Return the pattern, if it can be used. Raises ValueError with words for the user."""
    _rule(pattern)
    return pattern


def _rule(pattern: str) -> tuple[re.Pattern[str], bool]:
    words = pattern.rstrip("/").removeprefix("./")
    anchored = "/" in words
    text = "".join(_part(part) for part in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", words.lstrip("/")))
    try:
        return re.compile(text if anchored else "(?:.*/)?" + text, re.DOTALL), pattern.endswith("/")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r} is not a valid pattern: {error}") from None


def _part(part: str) -> str:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in known:
        return known[part]
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        inner = part[1:-1].replace("\\", "\\\\")
        return "[" + ("^" + inner[1:] if inner[0] == "!" else inner) + "]"
    return re.escape(part)
