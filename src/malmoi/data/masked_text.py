"""Batches of text with hidden words, alone or in pairs; every one is a pure function of (seed, step, slot)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from malmoi.data.batch import IGNORED, MaskedBatch
from malmoi.data.masking import Ids, Masker, number_of
from malmoi.data.mixture import Mixture
from malmoi.data.sentence_pairs import PairKind, cut_places, halves
from malmoi.tokenizers.framing import Frame, shorten
from malmoi.tokenizers.tokenizer import Tokenizer


def text_room(tokenizer: Tokenizer, context: int, kind: PairKind | None) -> int:
    """Tokens of text in a row of `context`, beside the special ones around it. Raises as `Frame`."""
    return context - Frame(tokenizer, pair=kind is not None).size


class MaskedText:
    """Rows of a mixture in the special tokens of their vocabulary, with hidden words; a `BatchSource`.

    What is hidden of a row is drawn anew each time it comes; of held-out text the same is hidden at every call.

    Args:
        mixture: rows of `text_room` tokens.
        kind: cut each row in two, see `halves`; None leaves it whole.
    """

    def __init__(
        self, mixture: Mixture, tokenizer: Tokenizer, masker: Masker, kind: PairKind | None = None, seed: int = 0
    ) -> None:
        self._mixture, self._masker, self._kind, self._seed = mixture, masker, kind, seed
        self._frame, self._end = Frame(tokenizer, pair=kind is not None), tokenizer.end

    def batch(self, step: int, slot: int) -> MaskedBatch:
        """See `BatchSource.batch`."""
        return self._masked(self._mixture.batch(step, slot).tokens.numpy(), f"{self._seed}/{step}/{slot}")

    def validation(self) -> Iterator[MaskedBatch]:
        """See `BatchSource.validation`: all held-out text once, but for rests that fill no row."""
        for number, text in enumerate(self._mixture.validation()):
            whole = (text.targets != IGNORED).all(dim=1)
            if whole.any():
                yield self._masked(text.tokens[whole].numpy(), f"{self._seed}/validation/{number}")

    def _masked(self, rows: Ids, key: str) -> MaskedBatch:
        framed, labels = self._framed(rows, np.random.default_rng(number_of(f"{key}/pairs")))
        lengths = torch.tensor([len(ids) for ids, _ in framed])
        tokens = np.full((len(framed), int(lengths.max())), self._end)  # a special token, of which nothing is hidden
        segments = np.zeros_like(tokens)
        for row, (ids, numbers) in enumerate(framed):
            tokens[row, : len(ids)], segments[row, : len(ids)] = ids, numbers
        seen, targets = map(torch.from_numpy, self._masker.hide(tokens, key))
        if labels is None:
            return MaskedBatch(seen, lengths, targets, documents=_documents(tokens, self._end))
        return MaskedBatch(seen, lengths, targets, torch.from_numpy(segments), torch.tensor(labels))

    def _framed(
        self, rows: Ids, chance: np.random.Generator
    ) -> tuple[list[tuple[list[int], list[int]]], list[int] | None]:
        """Each row as ids and segments, and whether its second half goes on from the first where there are two."""
        if self._kind is None:
            return [self._frame.fill([row.tolist()]) for row in rows], None
        places = cut_places(self._masker.words.begin(rows), rows == self._end, chance)
        pairs = halves(list(rows), places, self._kind, chance)
        texts = (shorten([pair.first.tolist(), pair.second.tolist()], rows.shape[1]) for pair in pairs)
        return [self._frame.fill(text) for text in texts], [pair.goes_on for pair in pairs]


def _documents(tokens: Ids, end: int) -> torch.Tensor:
    """(rows, length) int64, how many documents end before each token of a row."""
    ends = np.cumsum(tokens == end, axis=1)
    return torch.from_numpy(np.pad(ends, ((0, 0), (1, 0)))[:, :-1])
