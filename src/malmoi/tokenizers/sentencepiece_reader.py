"""A Unigram model (Kudo 2018) that cuts text exactly as the SentencePiece library does."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tokenizers
from tokenizers import AddedToken, models

from malmoi.core.errors import UserError
from malmoi.tokenizers.backend_errors import refusing
from malmoi.tokenizers.charsmap import Charsmap
from malmoi.tokenizers.sentencepiece import SPACE
from malmoi.tokenizers.sentencepiece_file import BYTE, NORMAL, UNIGRAM, USER_DEFINED, SentencePieceModel


class SentencePieceReader:
    """Text to pieces. What no piece spells is one piece as far as it reaches, under its own text.

    It differs from the `tokenizers` library's own way in its normalisation, see `Charsmap`, and in that no control
    piece is found in a text.

    Raises:
        UserError: the model is no Unigram model.
    """

    def __init__(self, model: SentencePieceModel) -> None:
        if model.algorithm != UNIGRAM:
            raise UserError(f"{model.where} is no Unigram model.", "Only those are known to have two vocabularies.")
        self._model, self._charsmap = model, Charsmap(model.charsmap)
        whole = [piece.text for piece in model.pieces if piece.kind == USER_DEFINED]
        self._whole = re.compile("|".join(map(re.escape, sorted(whole, key=len, reverse=True)))) if whole else None
        found = (NORMAL, USER_DEFINED, BYTE)
        # a text has no space left when it gets there, so that the others, which are spelled with one, never match
        pieces = [(text, score) if kind in found else (f" {text}", 0.0) for text, score, kind in model.pieces]
        with refusing(f"{model.where} is no whole vocabulary"):
            self._backend = tokenizers.Tokenizer(models.Unigram(pieces, model.unknown, model.byte_fallback))
        self._backend.add_tokens([AddedToken(text, normalized=False) for text in whole])

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """The pieces of each text, on all cores; U+2581 stands for a space."""
        return [row.tokens for row in self._backend.encode_batch([self._normalised(text)[0] for text in texts])]

    def cut_with_places(self, text: str) -> tuple[list[str], list[tuple[int, int]]]:
        """The pieces of a text, and from which of its characters to before which each one reaches."""
        normalised, origins = self._normalised(text)
        encoding = self._backend.encode(normalised)
        return encoding.tokens, [(origins[start], origins[end]) for start, end in encoding.offsets]

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
