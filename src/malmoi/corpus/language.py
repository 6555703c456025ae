"""Which languages a text is in: the share of Hangul first, then a small classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from malmoi.corpus.document import Document
from malmoi.corpus.step import Filter, Verdict


class LanguageFilter(Filter):
    """Notes the language in the metadata (`language`, `hangul`, `latin`), and drops what is in none of `wanted`."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self.wanted = tuple(wanted)

    def judge(self, document: Document) -> Iterator[Verdict]:
        raise NotImplementedError
