"""Breaks this app on purpose, so that a deployment can be seen to fail and to be restored.

A file `BREAK` beside this one holds one word, and a number where it says so:

    import   the app cannot be imported
    boot     it imports, but does not start
    health   it starts and serves, but /healthz answers 500
    slow     it takes 20 seconds to start
    dies     it starts, and dies 3 seconds later
    errors N it is healthy, and N of 100 answers are a 500
    crawls S it is healthy, and every answer takes S seconds more

No file, or any other word: the app is whole.
"""

import os
import threading
import time
from pathlib import Path

try:
    MODE, _, _number = (Path(__file__).parent / "BREAK").read_text().strip().partition(" ")
except FileNotFoundError:
    MODE, _number = "", ""
NUMBER = float(_number or 0)

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


class Answers:
    """What becomes of the answers to users."""

    def __init__(self) -> None:
        self._asked = 0

    def delay(self) -> float:
        """Seconds that the next answer has to wait."""
        return NUMBER if MODE == "crawls" else 0.0

    def fails(self) -> bool:
        """Whether the next answer is to be a 500."""
        self._asked += 1
        share = NUMBER / 100 if MODE == "errors" else 0.0
        return int(self._asked * share) > int((self._asked - 1) * share)


answers = Answers()
