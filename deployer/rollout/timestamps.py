"""Moments as people read them."""

from __future__ import annotations

import time
from typing import Any


def format_duration(value: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{int(value) // 60} min {int(value) % 60:02d} s"


def format_utc(moment: Any) -> str:
    """`2026-11-24 22:39:51`, in UTC, of seconds since the epoch as a record has them; the epoch where it has none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(float(moment or 0)))
