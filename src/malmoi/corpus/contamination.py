"""Keeps the texts that models are evaluated on out of the corpus: whole ones, and long passages of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from malmoi.core.files import atomic_file
from malmoi.core.hashing import text_digest
from malmoi.corpus.document import Document
from malmoi.corpus.shingles import LONGEST, Hashes, characters, runs, without_blanks
from malmoi.corpus.step import Filter, Verdict

PASSAGE = 40
"""Characters without blanks: about thirteen eojeol, the length that GPT-3 (Brown et al. 2020) took in words."""


@dataclass(frozen=True)
class EvaluationTexts:
    """What must not get into a corpus.

    Attributes:
        digests: of whole texts.
        passages: (n,) hashes of all their runs of `PASSAGE` characters, sorted.
        owners: (n,) whose passage it is, an index into `names`.
    """

    digests: frozenset[bytes]
    passages: Hashes
    owners: NDArray[np.int32]
    names: list[str]

    @classmethod
    def of(cls, documents: Iterable[Document], passages: bool) -> EvaluationTexts:
        """Those of cleaned documents; without `passages` only whole texts count."""
        digests: set[bytes] = set()
        names: list[str] = []
        hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
        for document in documents:
            digests.add(text_digest(document.text))
            found = _passages(document.text)[1] if passages else hashes[0]
            hashes.append(found)
            owners.append(np.full(len(found), len(names), np.int32))
            names.append(f"{document.source}/{document.identifier}")
        values, first = np.unique(np.concatenate(hashes), return_index=True)
        return cls(frozenset(digests), values, np.concatenate(owners)[first], names)

    def save(self, path: Path) -> None:
        """Write to a file that worker processes read."""
        with atomic_file(path, "wb") as file:
            digests = np.frombuffer(b"".join(sorted(self.digests)), np.uint8)
            names = np.frombuffer(json.dumps(self.names).encode(), np.uint8)
            np.savez(file, digests=digests, passages=self.passages, owners=self.owners, names=names)

    @classmethod
    def load(cls, path: Path) -> EvaluationTexts:
        """Read what `save` wrote."""
        with np.load(path) as file:
            digests = file["digests"].tobytes()
            whole = frozenset(digests[start : start + 16] for start in range(0, len(digests), 16))
            return cls(whole, file["passages"], file["owners"], json.loads(file["names"].tobytes()))


class ContaminationFilter(Filter):
    """Drops what is equal to an evaluation text, or shares a passage with one; the verdict shows the passage."""

    def __init__(self, texts: EvaluationTexts) -> None:
        self._texts = texts

    def judge(self, document: Document) -> Iterator[Verdict]:
        excluded = text_digest(document.text) in self._texts.digests
        yield Verdict("excluded", "equal" if excluded else "not equal", "no evaluation text", not excluded)
        if len(self._texts.passages):
            yield self._passage_verdict(document.text)

    def _passage_verdict(self, text: str) -> Verdict:
        compact, hashes = _passages(text)
        places = np.searchsorted(self._texts.passages, hashes)
        places[places == len(self._texts.passages)] = 0
        hits = np.flatnonzero(self._texts.passages[places] == hashes)
        if not len(hits):
            return Verdict("contaminated", "no passage", f"no {PASSAGE} characters of an evaluation text", True)
        owner = self._texts.names[self._texts.owners[places[hits[0]]]]
        return Verdict("contaminated", compact[hits[0] :][:PASSAGE], f"no {PASSAGE} characters of {owner}", False)


def _passages(text: str) -> tuple[str, Hashes]:
    """A text in lower case without blanks, and the hashes of its passages in their order."""
    compact = without_blanks(text[:LONGEST].lower())
    return compact, runs(characters(compact), PASSAGE) if len(compact) >= PASSAGE else np.empty(0, np.uint64)
