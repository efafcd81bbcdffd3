"""Whether something was piped in that a command does not get."""

from __future__ import annotations

import os
from pathlib import Path

from deployer.rollout.queries.exec import _waiting_bytes


def test_a_pipe_with_bytes_and_one_without(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        assert _waiting_bytes(pipe) == 0
        os.write(writing, b"select 1;\n")
        assert _waiting_bytes(pipe) == 10
        os.close(writing)
        assert pipe.read() == "select 1;\n", "nothing was taken out of it"
        assert _waiting_bytes(pipe) == 0


def test_a_file_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "backup.sql").write_text("select 1;\n")
    with (tmp_path / "backup.sql").open() as file:
        assert _waiting_bytes(file) == 10
    with open(os.devnull) as nothing:
        assert _waiting_bytes(nothing) == 0
