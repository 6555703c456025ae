"""Batches of questions in front of stretches of their passages, and where the answers begin and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from malmoi.data.batch import Batch

NOWHERE = (0, 0)
"""First and last token of an answer that is not there: the first token of the row stands for that."""


@dataclass(frozen=True)
class SpanBatch(Batch):
    """Questions with stretches of passages in which answers are looked for.

    Attributes:
        tokens: (rows, length) int64, padded on the right.
        lengths: (rows,) int64, the number of real tokens in each row, at least 1.
        segments: (rows, length) int64, which text each token belongs to, and in a passage what kind of word.
        inside: (rows, length) bool, where an answer may begin and end: the tokens of the passage, and the first token
            of the row, which stands for no answer.
        starts, ends: (rows,) int64, first and last token of the answer; both 0 where there is none.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    segments: torch.Tensor
    inside: torch.Tensor
    starts: torch.Tensor
    ends: torch.Tensor


@dataclass(frozen=True)
class Window:
    """A question and the stretch of its passage that fits in beside it.

    Attributes:
        tokens, segments: (length,) int64.
        first: number of the first token of the passage.
        places: from which character of the passage to before which each of its tokens reaches.
        answer: first and last token of the answer.
    """

    tokens: torch.Tensor
    segments: torch.Tensor
    first: int
    places: tuple[tuple[int, int], ...]
    answer: tuple[int, int] = NOWHERE


def collate_windows(windows: Sequence[Window]) -> SpanBatch:
    """A batch padded on the right with zeros."""
    inside = []
    for window in windows:
        row = torch.zeros(len(window.tokens), dtype=torch.bool)
        row[0] = True
        row[window.first : window.first + len(window.places)] = True
        inside.append(row)
    return SpanBatch(
        pad_sequence([window.tokens for window in windows], batch_first=True),
        torch.tensor([len(window.tokens) for window in windows]),
        pad_sequence([window.segments for window in windows], batch_first=True),
        pad_sequence(inside, batch_first=True),
        torch.tensor([window.answer[0] for window in windows]),
        torch.tensor([window.answer[1] for window in windows]),
    )
