"""Runs one operation and dies by SIGKILL at a line of the ledger: `crash.py MODULE.VERB WHEN LINE < arguments`.

WHEN is `before` or `after` the line is written; LINE is the state of an intent, or the line's event (`outcome`).
"""

from __future__ import annotations

import json
import os
import signal
import sys

from deployer.agent.model.layout import Site
from deployer.agent.model.messages.site import LedgerLine
from deployer.agent.operation import Context, find
from deployer.agent.site import ledger

name, when, line = sys.argv[1:]
written = ledger.append


def append(site: Site, entry: LedgerLine) -> LedgerLine:
    mark = entry.get("state", entry["event"])
    if (when, line) == ("before", mark):
        os.kill(os.getpid(), signal.SIGKILL)
    entry = written(site, entry)
    if (when, line) == ("after", mark):
        os.kill(os.getpid(), signal.SIGKILL)
    return entry


ledger.append = append
find(name)(Context(), json.load(sys.stdin))
