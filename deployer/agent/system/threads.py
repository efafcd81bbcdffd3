"""Work done for many things at once, in threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Callable, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_at_once(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Calls `work` for every item in a thread of its own: one that hangs does not delay the others.

    Returns:
        The results, in the order of `items`, once all threads have ended.

    Raises:
        The failure that came first.
    """
    items = list(items)
    results: dict[int, R] = {}
    failures: list[Exception] = []

    def run(number: int, item: T) -> None:
        try:
            results[number] = work(item)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=numbered, daemon=True) for numbered in enumerate(items)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(items))]
