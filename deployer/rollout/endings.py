"""What an agent refused, or a session that died, as the error that tells how far the run had come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deployer.errors import DeployError
from deployer.remote.errors import AgentError, SessionLost


@contextmanager
def refused_as(kind: type[DeployError], hint: str = "") -> Iterator[None]:
    """Raises as `kind`, with the same facts, what hosts refuse in the block; `hint` is for what has none of its own.

    Faults of the program itself (`internal`) stay what they are.
    """
    try:
        yield
    except (AgentError, SessionLost) as error:
        if error.code == "internal":
            raise
        raise kind(
            error.message,
            host=error.host,
            step=error.step,
            cause=error.cause,
            log=error.log,
            hint=error.hint or hint or None,
            code=error.code,
        ) from error
