"""Breaks this app on purpose, so that a deployment can be seen to fail and to be restored.

A file `BREAK` beside this one holds one word:

    import   the app cannot be imported
    boot     it imports, but does not start
    health   it starts and serves, but /healthz answers 500
    slow     it takes 20 seconds to start
    dies     it starts, and dies 3 seconds later

No file, or any other word: the app is whole.
"""

import os
import threading
import time
from pathlib import Path

try:
    MODE = (Path(__file__).parent / "BREAK").read_text().strip()
except FileNotFoundError:
    MODE = ""

if MODE == "import":
    raise ImportError("broken on purpose: BREAK says import")


def at_boot() -> None:
    """Called once when a process starts to serve; fails, waits or plants a bomb as `BREAK` says."""
    if MODE == "boot":
        raise RuntimeError("broken on purpose: BREAK says boot")
    if MODE == "slow":
        time.sleep(20)
    if MODE == "dies":
        bomb = threading.Timer(3.0, os._exit, args=[3])
        bomb.daemon = True
        bomb.start()
