"""Options that several commands have, and their parsers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import typer

Word = TypeVar("Word", bound=str)
Wait = Annotated[str, typer.Option("--wait", metavar="DURATION", help="Wait this long for the lock, e.g. 10m.")]


Waves = Annotated[
    str | None, typer.Option("--waves", metavar="SIZES", help="Sizes of the waves, e.g. 1,25%; the last repeats.")
]
Strategy = Annotated[
    str | None,
    typer.Option("--strategy", metavar="NAME", help="auto, restart, bluegreen, reload or socket; for this run."),
]
OnFailure = Annotated[
    str | None, typer.Option("--on-failure", metavar="POLICY", help="rollback, stop or continue; for this run.")
]

ProbeUrl = Annotated[
    str | None,
    typer.Option(
        "--probe",
        metavar="URL",
        help="Send test traffic to URL during the run; roll back if a request fails. `off`: none.",
    ),
]
Rate = Annotated[
    float | None, typer.Option("--rate", metavar="N", help="Requests per second of the probe; 20 by default.")
]


def rolling_keys(
    waves: str | None,
    strategy: str | None,
    on_failure: str | None = None,
    probe: str | None = None,
    rate: float | None = None,
) -> dict[str, Any]:
    """Return the keys of `rolling` that were given."""
    if rate is not None and probe in (None, "off"):
        raise typer.BadParameter("needs --probe URL", param_hint="--rate")
    sizes = [int(size) if size.isdigit() else size for size in (waves or "").split(",") if size]
    if waves is not None and not sizes:
        raise typer.BadParameter("needs at least one size", param_hint="--waves")
    probe_settings = {"url": probe, **({} if rate is None else {"rate": rate})} if probe else None
    keys = {"waves": sizes or None, "strategy": strategy, "on_failure": on_failure, "probe": probe_settings}
    kept = {key: value for key, value in keys.items() if value is not None}
    return {**kept, "probe": None} if probe == "off" else kept


def seconds(text: str, option: str = "--wait") -> float:
    """Return the seconds of `500ms`, `5s`, `2m`; BadParameter that names the option."""
    from deployer.settings import values

    try:
        return float(values.seconds(text))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def one_of(value: str | None, words: Sequence[Word], option: str) -> Word | None:
    """Return the one of `words` that `value` is; BadParameter that names the option when it is none."""
    if value is None:
        return None
    for word in words:
        if value == word:
            return word
    raise typer.BadParameter(f"{value!r} is not one of {', '.join(words)}", param_hint=option)
