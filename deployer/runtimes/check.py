"""The command that shows, in a built release, whether the app can be loaded before anything is changed."""

from __future__ import annotations

import json
from pathlib import Path

from deployer.runtimes.base import Serving

_SCRIPT = Path(__file__).with_name("target_check.py")


def import_check(
    serving: Serving,
    *,
    python: str,
    module: str = "",
    then: tuple[str, ...] = (),
    click_options: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Return a command that exits 0 when the app's target can be imported, else ends its output with the cause.

    Args:
        serving: what to import, and from where.
        python: the release's interpreter, relative to it.
        module: the server's own module, which must be importable too.
        then: words for `python -m module` that take over when the import went well.
        click_options: words that the server's click command must accept.
    """
    assert serving.target is not None
    order = {
        "target": serving.target.path.removesuffix("()"),
        "factory": serving.target.factory or serving.target.path.endswith("()"),
        "pythonpath": list(serving.pythonpath),
        "module": module,
        "then": list(then),
        "click": [word.replace("$PORT", "1") for word in click_options],
    }
    return (python, "-c", _SCRIPT.read_text(encoding="utf-8"), json.dumps(order))
