"""A classifier of texts that the user trains on labelled lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from malmoi.corpus.document import Document
from malmoi.corpus.step import Filter, Verdict


class QualityFilter(Filter):
    """Drops texts that a trained model in `directory` gives the kept label less than `least` of probability."""

    def __init__(self, directory: Path, least: float = 0.5) -> None:
        self.directory, self.least = directory, least

    def judge(self, document: Document) -> Iterator[Verdict]:
        raise NotImplementedError
