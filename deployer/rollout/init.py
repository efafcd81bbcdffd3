"""`deploy init`: the smallest deploy.yaml and inventory for the app in a folder."""

from __future__ import annotations

from pathlib import Path

from deployer.events import Bus, Output
from deployer.rollout.record import Record
from deployer.settings.init import write


def init(folder: Path, bus: Bus, record: Record) -> None:
    """Writes both files and says what to do next; raises what `settings.init.write` raises."""
    for path in write(folder):
        bus.emit(Output(f"wrote {path}", step="init"))
    bus.emit(
        Output("next: put your hosts into the inventory, then: deploy trust prod, deploy setup prod, deploy push prod")
    )
