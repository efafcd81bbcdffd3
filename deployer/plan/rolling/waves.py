"""Which instances change together: sizes from `rolling.waves`, bounded by `max_unavailable`."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def size_of(size: int | str, total: int) -> int:
    """`3` or `25%` of `total` instances, rounded down, at least 1; 0 stays 0."""
    if isinstance(size, int):
        return size
    return max(1, math.floor(total * int(size.rstrip("%")) / 100)) if size != "0%" else 0


def split(
    items: Sequence[T], sizes: Sequence[int | str], at_most: int | str, *, of: int | None = None
) -> tuple[tuple[T, ...], ...]:
    """Cut `items` into waves. The last size repeats; no wave is larger than `at_most` (which is at least 1).

    Sizes are numbers of instances or percentages of the whole pool, which is `of` instances; the items by default.
    """
    total = len(items) if of is None else of
    ceiling = max(1, size_of(at_most, total))
    waves: list[tuple[T, ...]] = []
    start = 0
    while start < len(items):
        size = sizes[min(len(waves), len(sizes) - 1)]
        step = min(max(1, size_of(size, total)), ceiling)
        waves.append(tuple(items[start : start + step]))
        start += step
    return tuple(waves)


def ordered(items: Sequence[T], order: str, *, key: Sequence[str], seed: str = "") -> tuple[T, ...]:
    """`items` in `rolling.order`; `key` holds each item's name. `random` is the same for the same `seed`."""
    pairs = list(zip(key, items, strict=True))
    if order == "reverse":
        pairs.reverse()
    elif order == "sorted":
        pairs.sort(key=lambda pair: pair[0])
    elif order == "random":
        random.Random(seed).shuffle(pairs)
    return tuple(item for _, item in pairs)
