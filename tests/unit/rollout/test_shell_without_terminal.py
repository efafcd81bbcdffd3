"""`deploy shell` in a pipe or in CI is refused before anything is connected to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.topologies import topology

from deployer.errors import UsageError
from deployer.rollout.queries.exec import shell
from deployer.rollout.run.record import Record


@pytest.mark.parametrize("host, named", [(None, "web1"), ("web2", "web2")])
def test_a_shell_without_a_terminal_is_refused(host: str | None, named: str) -> None:
    project: Any = SimpleNamespace(topology=topology(), env="prod")
    with pytest.raises(UsageError, match="a shell needs a terminal") as caught:
        shell(project, Record("shell"), host=host)
    assert f"deploy exec prod -l {named} -- " in str(caught.value.hint)
