"""Keeps the texts that models are evaluated on out of the corpus: whole ones, and long passages of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from malmoi.core.files import atomic_file
from malmoi.core.hashing import text_digest
from malmoi.corpus.document import Document
from malmoi.corpus.shingles import Hashes, characters, runs
from malmoi.corpus.step import Filter, Verdict

PASSAGE = 40
"""Characters without blanks: about thirteen eojeol, the length that GPT-3 (Brown et al. 2020) took in words."""

PIECE = 1 << 22
"""Characters of a text that are compared at a time, which bounds the memory."""


@dataclass(frozen=True)
class EvaluationTexts:
    """What must not get into a corpus.

    Attributes:
        texts: (m,) hashes of whole texts, sorted.
        passages: (n,) hashes of all their runs of `PASSAGE` characters, sorted.
        owners: (n,) whose passage it is, an index into `names`.
        names: (m,) of the texts.
    """

    texts: Hashes
    passages: Hashes
    owners: NDArray[np.int32]
    names: NDArray[np.str_]

    @classmethod
    def of(cls, documents: Iterable[Document], passages: bool) -> EvaluationTexts:
        """Those of cleaned documents; without `passages` only whole texts count."""
        texts: list[int] = []
        names: list[str] = []
        hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
        for document in documents:
            for _, found in _passages(document.text) if passages else ():
                hashes.append(found)
                owners.append(np.full(len(found), len(names), np.int32))
            texts.append(_whole(document.text))
            names.append(f"{document.source}/{document.identifier}")
        values, first = np.unique(np.concatenate(hashes), return_index=True)
        return cls(np.unique(np.array(texts, np.uint64)), values, np.concatenate(owners)[first], np.array(names, str))

    def save(self, path: Path) -> None:
        """Write to a file that worker processes read."""
        with atomic_file(path, "wb") as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> EvaluationTexts:
        """Read what `save` wrote."""
        with np.load(path) as file:
            return cls(**file)


class ContaminationFilter(Filter):
    """Drops what is equal to an evaluation text, or shares a passage with one; the verdict shows the passage."""

    def __init__(self, texts: EvaluationTexts) -> None:
        self._known = texts

    def judge(self, document: Document) -> Iterator[Verdict]:
        excluded = len(_found(np.array([_whole(document.text)], np.uint64), self._known.texts)[0]) > 0
        yield Verdict("excluded", "equal" if excluded else "not equal", "no evaluation text", not excluded)
        if len(self._known.passages):
            yield self._passage_verdict(document.text)

    def _passage_verdict(self, text: str) -> Verdict:
        for compact, hashes in _passages(text):
            hits, places = _found(hashes, self._known.passages)
            if len(hits):
                owner = self._known.names[self._known.owners[places[0]]]
                return Verdict("contaminated", compact[hits[0] :][:PASSAGE], f"no {PASSAGE} characters of {owner}")
        return Verdict("contaminated", "no passage", f"no {PASSAGE} characters of an evaluation text", True)


def _found(hashes: Hashes, known: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of some hashes are among the known ones, which are sorted, and their places there."""
    places = np.searchsorted(known, hashes)
    hits = np.flatnonzero(known[places.clip(max=len(known) - 1)] == hashes) if len(known) else places[:0]
    return hits, places[hits]


def _whole(text: str) -> int:
    return int.from_bytes(text_digest(text)[:8], "little")


def _passages(text: str) -> Iterator[tuple[str, Hashes]]:
    """Pieces of a text in lower case without blanks, and the hashes of all its passages in their order.

    A piece begins with the end of the one before, so that no passage is cut.
    """
    compact = ""
    for start in range(0, len(text), PIECE):
        compact = compact[1 - PASSAGE :] + "".join(text[start : start + PIECE].lower().split())
        if len(compact) >= PASSAGE:
            yield compact, runs(characters(compact), PASSAGE)
