"""Which process is slow: their own times, without the waiting for others, are compared now and then."""

from __future__ import annotations

import statistics
from collections import deque

from torch.distributed import Store  # type: ignore[attr-defined]

EVERY = 20
"""Steps after which the processes' own times are compared."""

SLOW = 1.5
"""A process that takes so many times the median is named."""


class Stragglers:
    """Own times of all processes. `add` is the trainer's, `exchange` the watchdog's thread's.

    Args:
        index, count: of this process, and how many there are.
    """

    def __init__(self, index: int, count: int) -> None:
        self._index, self._count = index, count
        self._sum = 0.0
        self._sums: deque[tuple[int, float]] = deque()
        self._open: deque[int] = deque(maxlen=8)
        self._found: deque[str] = deque()
        self._named: set[int] = set()

    def add(self, step: int, seconds: float) -> list[str]:
        """Count a step's own seconds in; returns sentences about those who were found to be slow since the last call.

        A process is named once, and only in the first process.
        """
        self._sum += seconds
        if step % EVERY == 0:
            self._sums.append((step, self._sum / EVERY))
            self._sum = 0.0
        return [self._found.popleft() for _ in range(len(self._found))]

    def exchange(self, store: Store) -> None:
        """Leave what this process has summed up, and in the first process compare what all have left."""
        while self._sums:
            step, seconds = self._sums.popleft()
            store.set(_key(step, self._index), repr(seconds))
            if self._index == 0:
                self._open.append(step)
        while self._open and store.check(keys := [_key(self._open[0], index) for index in range(self._count)]):
            self._compare(self._open.popleft(), [float(value) for value in store.multi_get(keys)])
            for key in keys:
                store.delete_key(key)

    def _compare(self, step: int, seconds: list[float]) -> None:
        usual = statistics.median_low(seconds)
        for index, own in enumerate(seconds):
            if own > SLOW * usual and index not in self._named:
                self._named.add(index)
                self._found.append(
                    f"process {index} works {own:.3g} s on a step and the median is {usual:.3g} s (up to step {step}): "
                    f"all wait for it"
                )


def _key(step: int, index: int) -> str:
    return f"malmoi/stragglers/{step}/{index}"
