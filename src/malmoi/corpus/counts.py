"""How many documents and bytes were read, dropped for which reason, and kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """Counts of one source, or of all.

    Attributes:
        kept_bytes, dropped_bytes: UTF-8 bytes of the texts as they were read.
        bytes: of the texts as they are written, `held_out_bytes` of which are held out.
        hangul_documents: kept documents with a Hangul syllable.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    kept_bytes: int = 0
    bytes: int = 0
    held_out_bytes: int = 0
    hangul_documents: int = 0

    def drop(self, rule: str, size: int) -> None:
        """Count a document that a rule dropped."""
        self.dropped[rule] += 1
        self.dropped_bytes[rule] += size

    def keep(self, size: int, written: int, held_out: int, hangul: bool) -> None:
        """Count a document that stays: bytes as it was read, as it is written, and held out of these."""
        self.kept += 1
        self.kept_bytes += size
        self.bytes += written
        self.held_out_bytes += held_out
        self.hangul_documents += hangul

    def summary(self) -> dict[str, Any]:
        """The counts, the commonest reasons first."""
        counts = {
            name: dict(sorted(value.items(), key=lambda item: (-item[1], item[0])))
            if isinstance(value, Counter)
            else value
            for name, value in vars(self).items()
        }
        read, read_bytes = self.kept + self.dropped.total(), self.kept_bytes + self.dropped_bytes.total()
        return {"read": read, "read_bytes": read_bytes, **counts}


class Counts:
    """Counts of every source and of all together."""

    def __init__(self) -> None:
        self._total = Tally()
        self._sources: defaultdict[str, Tally] = defaultdict(Tally)

    def of(self, source: str) -> tuple[Tally, Tally]:
        """Where a document of a source is counted: with its source, and with all."""
        return self._sources[source], self._total

    def summary(self, read: int, read_bytes: int) -> dict[str, Any]:
        """As `counts.json` has it.

        Raises:
            AssertionError: the readers gave another number of documents or bytes than were kept and dropped.
        """
        summary = self._total.summary()
        counted = summary["read"], summary["read_bytes"]
        if counted != (read, read_bytes):
            raise AssertionError(f"{read} documents of {read_bytes} bytes were read, but {counted} are accounted for")
        return {**summary, "sources": {source: tally.summary() for source, tally in self._sources.items()}}
