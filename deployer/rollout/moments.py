"""Moments as people read them."""

from __future__ import annotations

import time
from typing import Any


def utc(moment: Any) -> str:
    """`2026-11-24 22:39:51`, in UTC, of seconds since the epoch as a record has them; the epoch where it has none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(float(moment or 0)))
