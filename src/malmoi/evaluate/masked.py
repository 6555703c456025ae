"""Masked words: what counting alone guesses for them, the control, and some guesses of a model to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from malmoi.core.accelerator import device_of
from malmoi.data.batch import IGNORED, MaskedBatch
from malmoi.models.encoder import Encoder
from malmoi.tokenizers.tokenizer import Tokenizer

Ids = NDArray[np.int64]

COUNTED = 1 << 22
"""Tokens of each source that are counted at most."""

SHOWN, A_BATCH, AROUND = 12, 2, 14
"""Guesses that are shown, of a batch at most, and tokens on either side."""


class Counts:
    """How often tokens stand alone, behind one, before one and between two others in training text.

    Args:
        texts: source -> (tokens,) ids.
        vocabulary: number of ids.
        mask: id that hides a token.
        special: ids that are never to be guessed.
    """

    def __init__(
        self,
        texts: Mapping[str, NDArray[np.unsignedinteger]],
        vocabulary: int,
        mask: int,
        special: Sequence[int] = (),
    ) -> None:
        self._vocabulary, self._mask = vocabulary, mask
        parts = [np.asarray(tokens[:COUNTED], dtype=np.int64) for tokens in texts.values()]
        left, middle, right = (
            np.concatenate([part[start : len(part) - 2 + start] for part in parts]) for start in range(3)
        )
        ordinary = ~np.isin(middle, special)
        middle = middle[ordinary]
        self.most_frequent = int(np.bincount(middle, minlength=1).argmax())
        keys = self._keys(left[ordinary], right[ordinary])
        self._tables = [_most_frequent_of(key, middle, vocabulary) for key in keys]

    def guesses(self, batch: MaskedBatch) -> Ids:
        """(n,) for each target in the order of the rows.

        What stands there and is no mask; else the most frequent token between the two beside it, or behind the left
        one, or before the right one; else the most frequent of all. Hidden neighbours tell nothing.
        """
        tokens = np.pad(batch.tokens.numpy(), ((0, 0), (1, 1)), constant_values=self._mask)
        left, here, right = (part[batch.targets.numpy() != IGNORED] for part in _three(tokens))
        guess = np.full(len(here), self.most_frequent)
        for key, (contexts, best) in reversed(list(zip(self._keys(left, right), self._tables, strict=True))):
            place = np.minimum(np.searchsorted(contexts, key), max(0, len(contexts) - 1))
            known = contexts[place] == key if len(contexts) else np.zeros(len(key), bool)
            guess[known] = best[place[known]]
        return np.where(here == self._mask, guess, here)

    def _keys(self, left: Ids, right: Ids) -> list[Ids]:
        """What is looked at, the best first, as one number each."""
        return [left * self._vocabulary + right, left, right]


def control_accuracy(counts: Counts, batches: Iterable[MaskedBatch]) -> dict[str, float]:
    """Share of the targets that the most frequent token and the neighbours guess; empty without targets."""
    right = {"unigram": 0, "neighbours": 0}
    total = 0
    for batch in batches:
        targets = batch.targets[batch.targets != IGNORED].numpy()
        right["unigram"] += int((targets == counts.most_frequent).sum())
        right["neighbours"] += int((targets == counts.guesses(batch)).sum())
        total += len(targets)
    return {name: value / total for name, value in right.items()} if total else {}


@torch.inference_mode()
def guesses(model: Encoder, tokenizer: Tokenizer, batches: Iterable[MaskedBatch]) -> list[dict[str, Any]]:
    """Some hidden words of one token: the text around, what stood there, and what the model guesses, best first."""
    found: list[dict[str, Any]] = []
    model.eval()
    for batch in batches:
        there = batch.to(device_of(model))
        states = model(there.tokens, there.lengths, there.segments, there.documents)
        for row, place in _lone_masks(batch, tokenizer)[:A_BATCH]:
            best = model.head(states[row, place]).topk(3).indices.tolist()
            around = slice(max(0, place - AROUND), place + AROUND)
            ids = batch.tokens[row].tolist()
            ids[place] = -1
            right, *words = (tokenizer.decode([id]).strip() for id in (int(batch.targets[row, place]), *best))
            found.append({"text": _shown(ids[around], tokenizer), "right": right, "guesses": words})
    return found[:: -(-len(found) // SHOWN)] if found else []


def _lone_masks(batch: MaskedBatch, tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Row and place of the first hidden token of each row whose neighbours are seen."""
    hidden = F.pad(torch.eq(batch.tokens, tokenizer.mask or 0), (1, 1))
    lone = hidden[:, 1:-1] & ~hidden[:, :-2] & ~hidden[:, 2:]
    return [(row, int(places.int().argmax())) for row, places in enumerate(lone) if places.any()]


def _shown(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Text of ids: ▣ for -1, the token asked for, and ▢ for others that are hidden."""
    signs = {-1: "▣", tokenizer.mask: "▢"}
    spelled = (signs[id].encode() if id in signs else tokenizer.token_bytes(id) for id in ids)
    return b"".join(spelled).decode("utf-8", errors="ignore").strip()


def _three(tokens: Ids) -> tuple[Ids, Ids, Ids]:
    return tokens[:, :-2], tokens[:, 1:-1], tokens[:, 2:]


def _most_frequent_of(contexts: Ids, tokens: Ids, vocabulary: int) -> tuple[Ids, Ids]:
    """The contexts that occur, sorted, and the token that is most frequent in each."""
    both, counts = np.unique(contexts * vocabulary + tokens, return_counts=True)
    order = np.lexsort((-counts, both // vocabulary))
    found, first = np.unique(both[order] // vocabulary, return_index=True)
    return found, both[order][first] % vocabulary
