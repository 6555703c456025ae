"""A Unigram model (Kudo 2018) that cuts text exactly as the SentencePiece library does."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

from malmoi.core.errors import UserError
from malmoi.tokenizers.charsmap import Charsmap
from malmoi.tokenizers.sentencepiece import SPACE
from malmoi.tokenizers.sentencepiece_file import NORMAL, UNIGRAM, USER_DEFINED, SentencePieceModel

_PENALTY = 10.0
"""By how much a character that no piece spells is less likely than the least likely piece."""

_Cut = list[tuple[int, int]]
"""From which character to before which one each piece reaches."""


class SentencePieceReader:
    """Text to pieces. What no piece spells is one piece as far as it reaches, under its own text.

    The `tokenizers` library computes Unigram models too, but reads a charsmap in another way, finds control pieces in a
    text, and adds scores up in float64, so that of two ways to cut a text that are as likely it may take the other.

    Raises:
        UserError: the model is no Unigram model, or has no piece that spells anything.
    """

    def __init__(self, model: SentencePieceModel) -> None:
        if model.algorithm != UNIGRAM:
            raise UserError(f"{model.where} is no Unigram model.", "Only those are known to have two vocabularies.")
        normal = [piece.score for piece in model.pieces if piece.kind == NORMAL]
        if not normal:
            raise UserError(f"{model.where} is no whole vocabulary: it has no piece of text.", "Get the file again.")
        self._model, self._charsmap = model, Charsmap(model.charsmap)
        whole = [piece.text for piece in model.pieces if piece.kind == USER_DEFINED]
        self._whole = re.compile("|".join(map(re.escape, sorted(whole, key=len, reverse=True)))) if whole else None
        self._scores = {text: score for text, score, kind in model.pieces if kind == NORMAL}
        # the library's own bonus, by which a symbol that must stay whole nearly always does
        self._scores |= {text: len(text) * max(normal) - 0.1 for text in whole}
        self._unknown_score = min(normal) - _PENALTY
        self._lengths = sorted({len(text) for text in self._scores})

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """The pieces of each text; U+2581 stands for a space."""
        return [self.cut_with_places(text)[0] for text in texts]

    def cut_with_places(self, text: str) -> tuple[list[str], list[tuple[int, int]]]:
        """The pieces of a text, and from which of its characters to before which each one reaches."""
        normalised, origins = self._normalised(text)
        pieces, places = [], []
        for start, end in self._joined(normalised, self._most_likely(normalised)):
            spelled = self._spelled(normalised[start:end])
            pieces += spelled
            places += [(origins[start], origins[end])] * len(spelled)
        return pieces, places

    def _most_likely(self, text: str) -> _Cut:
        """The cut with the highest sum of scores; of equal ones, that whose last piece is the longest (Viterbi).

        Sums are kept in float32, as the library keeps them.
        """
        best, begins = array("f", bytes(4 * (len(text) + 1))), [-1] * (len(text) + 1)
        candidate = array("f", [0.0])
        for start in range(len(text)):
            ends = [
                (start + length, score)
                for length in self._lengths
                if start + length <= len(text) and (score := self._scores.get(text[start : start + length])) is not None
            ]
            if not ends or ends[0][0] > start + 1:
                ends.append((start + 1, self._unknown_score))
            for end, score in ends:
                candidate[0] = best[start] + score
                if begins[end] < 0 or candidate[0] > best[end]:
                    best[end], begins[end] = candidate[0], start
        cut = []
        end = len(text)
        while end:
            cut.append((begins[end], end))
            end = begins[end]
        return cut[::-1]

    def _joined(self, text: str, cut: _Cut) -> _Cut:
        """The same with what no piece spells in one as far as it reaches."""
        joined: _Cut = []
        unknown_before = False
        for start, end in cut:
            unknown = text[start:end] not in self._scores
            if unknown and unknown_before:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
            unknown_before = unknown
        return joined

    def _spelled(self, piece: str) -> list[str]:
        """The piece, or its bytes where nothing else spells it and the model can."""
        if piece in self._scores or not self._model.byte_fallback:
            return [piece]
        return [f"<0x{byte:02X}>" for byte in piece.encode()]

    def _normalised(self, text: str) -> tuple[str, list[int]]:
        """The text as the model reads it, and the place in the text of each of its characters, and of its end."""
        letters = [letter.encode("utf-8") for letter in text]
        prefix = " " if text and self._model.space_first else ""
        parts, origins = [prefix], [0] * len(prefix)
        behind_space = squeezed = self._model.squeezed
        at = 0
        while at < len(text):
            replacement, end = self._replacement(text, letters, at)
            if behind_space:
                replacement = replacement.lstrip(" ")
            if replacement:
                parts.append(replacement)
                origins += [at] * len(replacement)
                behind_space = squeezed and replacement.endswith(" ")
            at = end
        whole = "".join(parts).replace(" ", SPACE)
        return whole.rstrip(SPACE) if squeezed else whole, [*origins, len(text)]

    def _replacement(self, text: str, letters: list[bytes], at: int) -> tuple[str, int]:
        """What the model reads at a place of a text, and where it reads on."""
        if self._whole and (kept := self._whole.match(text, at)):
            return kept[0], kept.end()
        return self._charsmap.replacement(letters, at) or (text[at], at + 1)
