"""Harmful words, matched by their stems."""

from __future__ import annotations

from collections.abc import Iterator

from malmoi.corpus.document import Document
from malmoi.corpus.step import Filter, Verdict


class HarmfulFilter(Filter):
    """Drops texts that are dense with harmful words."""

    def judge(self, document: Document) -> Iterator[Verdict]:
        raise NotImplementedError
