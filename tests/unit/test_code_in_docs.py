"""Code in docs/how-to is quoted from a file that runs in the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.project import REPOSITORY

GUIDES = sorted(REPOSITORY.glob("docs/how-to/*.md"))
_BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.M | re.S)


def quotes(text: str) -> list[tuple[str, str]]:
    """The path and the code of every block; the path is the comment in its first line."""
    blocks = [code.partition("\n") for _, code in _BLOCK.findall(text)]
    return [(path.removeprefix("# "), code.strip("\n")) for path, _, code in blocks]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_block_of_code_is_part_of_the_file_that_it_names(guide: Path) -> None:
    blocks = quotes(guide.read_text("utf-8"))
    assert blocks
    for path, code in blocks:
        assert (REPOSITORY / path).is_file(), f"{path} is not a file"
        assert code in (REPOSITORY / path).read_text("utf-8"), f"{path} has other code than\n{code}"
