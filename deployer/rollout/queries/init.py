"""`deploy init`: the smallest deploy.yaml and inventory for the app in a folder."""

from __future__ import annotations

from pathlib import Path

from deployer.events import Bus, Output
from deployer.rollout.run.record import Record
from deployer.settings.init.init import write
from deployer.settings.init.runtime import InitOptions


def init(folder: Path, bus: Bus, record: Record, *, options: InitOptions) -> None:
    """Writes both files, says what was found and why, and what to do next; raises what `settings.init.write` raises."""
    result = write(folder, options=options)
    for reason in result.reasons:
        bus.emit(Output(f"{reason.what}: {reason.value} — {reason.why}", step="init"))
    for remark in result.remarks:
        bus.emit(Output(remark, step="init"))
    for path in result.files:
        bus.emit(Output(f"wrote {path}", step="init"))
    first = f"{result.first}; then: " if result.first else ""
    bus.emit(
        Output(
            f"next: {first}deploy dev runs it here; for your hosts, put them into the inventory, then: "
            "deploy trust prod, deploy setup prod, deploy push prod"
        )
    )
