"""Encoded texts in the special tokens that their family puts around a text or a pair."""

from __future__ import annotations

from collections.abc import Sequence

from malmoi.core.errors import UserError
from malmoi.tokenizers.tokenizer import Tokenizer


class Frame:
    """What stands around one text, or around two: BERT writes `[CLS] a [SEP] b [SEP]`, and apart each as if alone.

    Attributes:
        size: how many special tokens there are.
        behind: how many of them stand behind the last text.
    """

    def __init__(self, tokenizer: Tokenizer, *, pair: bool, apart: bool = False) -> None:
        """Learn it from an example; `apart` for two texts that do not see each other.

        Raises:
            UserError: the vocabulary does not tell how two texts stand together.
        """
        self._parts = _pair_parts(tokenizer) if pair and not apart else _single_parts(tokenizer)
        if apart:
            self._parts = [(id, None if text is None else n, n) for n in (0, 1) for id, text, _ in self._parts]
        special = [text is None for _, text, _ in self._parts]
        self.size = sum(special)
        self.behind = special[::-1].index(False)

    def fill(self, texts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
        """Ids of the texts with the special ones around and between them, and the segment that each id belongs to."""
        ids: list[int] = []
        segments: list[int] = []
        for special, text, segment in self._parts:
            put = [special] if text is None else texts[text]
            ids += put
            segments += [segment] * len(put)
        return ids, segments


def shorten(texts: Sequence[Sequence[int]], room: int) -> list[Sequence[int]]:
    """Cut one text, or the longer one of two, so that together they have no more than `room` ids."""
    first, *others = texts
    if not others:
        return [first[:room]]
    first = first[: max(room - len(others[0]), room // 2)]
    return [first, others[0][: room - len(first)]]


_Part = tuple[int, int | None, int]
"""A special token's id, or the number of the text that stands here; and the segment."""


def _single_parts(tokenizer: Tokenizer) -> list[_Part]:
    before, behind = tokenizer.around
    return [*((id, None, 0) for id in before), (0, 0, 0), *((id, None, 0) for id in behind)]


def _pair_parts(tokenizer: Tokenizer) -> list[_Part]:
    example = tokenizer.backend.encode("a", "a")
    parts: list[_Part] = []
    for part in zip(example.ids, example.sequence_ids, example.type_ids, strict=True):
        if part[1] is None or not parts or parts[-1][1] != part[1]:
            parts.append(part)
    if len(parts) == 2 or [text for _, text, _ in parts if text is not None] != [0, 1]:
        raise UserError("The vocabulary does not tell how two texts stand together.", "Take an encoder such as BERT.")
    return parts
