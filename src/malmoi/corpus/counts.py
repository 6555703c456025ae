"""How many documents and bytes were read, dropped for which reason, and kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class Tally:
    """Counts of one source, or of all.

    Attributes:
        read_bytes, kept_bytes, dropped_bytes: UTF-8 bytes of the texts as they were read.
        bytes: of the texts as they are written, `held_out_bytes` of which are held out.
        hangul_documents: kept documents with a Hangul syllable.
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    read_bytes: int = 0
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    kept_bytes: int = 0
    bytes: int = 0
    held_out_bytes: int = 0
    hangul_documents: int = 0

    def drop(self, rule: str, size: int) -> None:
        """Count a document that a rule dropped."""
        self.read, self.read_bytes = self.read + 1, self.read_bytes + size
        self.dropped[rule] += 1
        self.dropped_bytes[rule] += size

    def keep(self, size: int) -> None:
        """Count a document that stays."""
        self.read, self.read_bytes = self.read + 1, self.read_bytes + size
        self.kept, self.kept_bytes = self.kept + 1, self.kept_bytes + size

    def add(self, other: Self) -> None:
        """Add the counts of another source."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                mine.update(value)  # a sum of counters would lose the reasons of empty texts, which have 0 bytes
            else:
                setattr(self, name, mine + value)

    def check(self, read: int, read_bytes: int) -> None:
        """Compare with what the readers counted.

        Raises:
            AssertionError: a document was read that was neither kept nor dropped.
        """
        counted = self.kept + self.dropped.total(), self.kept_bytes + self.dropped_bytes.total()
        if not counted == (self.read, self.read_bytes) == (read, read_bytes):
            raise AssertionError(f"{read} documents of {read_bytes} bytes were read, but {counted} are accounted for")

    def summary(self) -> dict[str, Any]:
        """The counts, the commonest reasons first."""
        ordered = {
            name: dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))
            for name, counter in (("dropped", self.dropped), ("dropped_bytes", self.dropped_bytes))
        }
        return asdict(self) | ordered


class Counts(defaultdict[str, Tally]):
    """Source -> its counts."""

    def __init__(self) -> None:
        super().__init__(Tally)

    def total(self) -> Tally:
        """Those of all sources."""
        total = Tally()
        for tally in self.values():
            total.add(tally)
        return total

    def summary(self) -> dict[str, Any]:
        """As `counts.json` has it."""
        return {**self.total().summary(), "sources": {source: tally.summary() for source, tally in self.items()}}
