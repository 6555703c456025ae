"""How fast an answer grows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from malmoi.generate.generator import Piece


class Speed:
    """Counts the pieces of one answer. The clock of the speed starts at the first, when the prompt has been read."""

    def __init__(self) -> None:
        self._tokens = 0
        self._reason: str | None = None
        self._start = self._first = self._last = time.perf_counter()

    def count(self, piece: Piece) -> None:
        """Take note of a piece that has just come."""
        self._last = time.perf_counter()
        self._first = self._last if self._tokens == 0 else self._first
        self._tokens += 1
        self._reason = piece.finish_reason

    def words(self) -> str:
        """Such as '42 tokens, 31.5 a second, first after 0.4 s'; says so when the answer was cut."""
        if not self._tokens:
            return "stopped"
        words = f"{self._tokens} token{'s' if self._tokens > 1 else ''}"
        if self._tokens > 1:
            words += f", {(self._tokens - 1) / max(self._last - self._first, 1e-9):.1f} a second"
        words += f", first after {self._first - self._start:.1f} s"
        return words + {"length": ", cut at the limit", None: ", stopped"}.get(self._reason, "")
