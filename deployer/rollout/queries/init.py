"""`deploy init`: the smallest deploy.yaml and inventory for the app in a folder."""

from __future__ import annotations

from pathlib import Path

from deployer.events import Output
from deployer.rollout.run.invocation import Invocation
from deployer.settings.init.init import write
from deployer.settings.init.runtime import InitOptions


def init(folder: Path, invocation: Invocation, *, options: InitOptions) -> None:
    """Writes both files, says what was found and why, and what to do next; raises what `settings.init.write` raises."""
    result = write(folder, options=options)
    for reason in result.reasons:
        invocation.bus.emit(Output(f"{reason.what}: {reason.value} — {reason.why}", step="init"))
    for remark in result.remarks:
        invocation.bus.emit(Output(remark, step="init"))
    for path in result.files:
        invocation.bus.emit(Output(f"wrote {path}", step="init"))
    first = f"{result.first}; then: " if result.first else ""
    invocation.bus.emit(
        Output(
            f"next: {first}deploy dev runs it here; for your hosts, put them into the inventory, then: "
            "deploy trust prod, deploy setup prod, deploy push prod"
        )
    )
