"""The table of limits, a column a language, and the step that applies it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from malmoi.corpus.document import Document
from malmoi.corpus.step import Filter, Verdict


class RuleFilter(Filter):
    """Drops what no one would read: the limits of the document's language, with changes by language and measure."""

    def __init__(self, changes: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self.changes = changes or {}

    def judge(self, document: Document) -> Iterator[Verdict]:
        raise NotImplementedError
