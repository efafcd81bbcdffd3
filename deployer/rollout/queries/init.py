"""`deploy init`: the smallest deploy.yaml and inventory for the app in a folder."""

from __future__ import annotations

from pathlib import Path

from deployer.events import Bus, Output
from deployer.rollout.run.record import Record
from deployer.settings.init.init import write
from deployer.settings.init.runtime import InitOptions


def init(folder: Path, bus: Bus, record: Record, *, asked: InitOptions) -> None:
    """Writes both files, says what was found and why, and what to do next; raises what `settings.init.write` raises."""
    made = write(folder, asked=asked)
    for reason in made.reasons:
        bus.emit(Output(f"{reason.what}: {reason.value} — {reason.why}", step="init"))
    for remark in made.remarks:
        bus.emit(Output(remark, step="init"))
    for path in made.files:
        bus.emit(Output(f"wrote {path}", step="init"))
    first = f"{made.first}; then: " if made.first else ""
    bus.emit(
        Output(
            f"next: {first}deploy dev runs it here; for your hosts, put them into the inventory, then: "
            "deploy trust prod, deploy setup prod, deploy push prod"
        )
    )
