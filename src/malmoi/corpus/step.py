"""The door of a step: a document goes in, a document or the verdict that drops it comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from malmoi.corpus.document import Document


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule measured of a document, the limit, and whether it holds; the limit reads like ">= 0.35"."""

    rule: str
    value: float | str
    limit: float | str
    holds: bool = False


Step = Callable[[Document], Document | Verdict]
"""A plain function of one document; it knows of no engine, no files and no other documents."""


class Filter(ABC):
    """A step that judges. `judge` is the one source of truth: the step drops for the first verdict that fails."""

    @abstractmethod
    def judge(self, document: Document) -> Iterator[Verdict]:
        """Every rule's verdict, each measured when it is asked for, so that the step stops at the first that fails."""

    def label(self, document: Document) -> Document:
        """The document with what the filter found out about it; by default as it came."""
        return document

    def __call__(self, document: Document) -> Document | Verdict:
        labelled = self.label(document)
        return next((verdict for verdict in self.judge(labelled) if not verdict.holds), labelled)
