"""What comes next is made while the present is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetched(make: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Generator[Made]:
    """`make(item)` for each, in order; a thread makes the next ones while the caller uses the one he was given.

    What `make` raises is raised where its result would have been given. Close the generator: what has not begun then
    is not made, and the thread has ended.

    Args:
        ahead: how many are made, or being made, beside the one in use; at least 1.
    """
    remaining = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        waiting = deque(pool.submit(make, item) for item in islice(remaining, ahead))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(make, item) for item in islice(remaining, 1))
            yield made
    finally:
        pool.shutdown(cancel_futures=True)
