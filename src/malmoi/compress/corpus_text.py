"""A corpus as a compression needs it: rows to calibrate with, held-out text to be scored on, training text to count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from malmoi.core.errors import MissingExtra, UserError
from malmoi.corpus.language import identify
from malmoi.corpus.store import read_documents
from malmoi.evaluate.bits_per_byte import EncodedText, encode_texts
from malmoi.evaluate.held_out import thin_out
from malmoi.tokenizers.tokenizer import Tokenizer

TRAIN_BYTES = 8 * 2**20
"""About how much training text is looked at, evenly from all of it."""

ROW = 512
"""Tokens in a row of calibration, where the model reads so many."""

_TEXTS, _BEGINNING = 64, 500
"""Texts whose language is looked at, and characters of each."""


@dataclass(frozen=True)
class CorpusText:
    """Token ids of a corpus.

    Attributes:
        rows: each begins with `start` and is no longer than the model's context.
        held_out: documents that no one learned from.
        train: what simple models are counted on.
        start: what a text begins behind, see `Tokenizer.start`.
        language: see `common_language`; that of the training text.
    """

    rows: list[list[int]]
    held_out: list[EncodedText]
    train: list[NDArray[np.int64]]
    start: list[int]
    language: str


def read_corpus_text(
    corpus: Path, tokenizer: Tokenizer, context: int, calibration_tokens: int, held_out_bytes: int
) -> CorpusText:
    """Read and encode.

    Args:
        calibration_tokens: about how many tokens the rows have together, evenly from all of the training text.
        held_out_bytes: about how many bytes of held-out text, likewise.

    Raises:
        UserError: the corpus holds nothing out.
    """
    read = partial(read_documents, corpus)
    held_out, _ = thin_out(lambda: read("held_out"), held_out_bytes)
    if not any(document.text for document in held_out):
        raise UserError(f"{corpus} holds no text out.", "Give the corpus stage a larger held_out, or more text.")
    train, _ = thin_out(lambda: read("train"), TRAIN_BYTES)
    tokens = tokenizer.encode_batch([document.text for document in train])
    return CorpusText(
        _rows(tokens, tokenizer.start, min(ROW, context), calibration_tokens),
        encode_texts(tokenizer, [document.text for document in held_out]),
        [np.array(one, dtype=np.int64) for one in tokens],
        tokenizer.start,
        common_language([document.text for document in train]),
    )


def common_language(texts: Sequence[str]) -> str:
    """ISO 639 code of the language that these texts are in together, "unknown" where it cannot be told."""
    step = max(1, len(texts) // _TEXTS)
    try:
        return identify("\n".join(text[:_BEGINNING] for text in texts[::step]))["language"]
    except MissingExtra:
        return "unknown"


def _rows(documents: list[list[int]], start: list[int], length: int, tokens: int) -> list[list[int]]:
    """The beginning of every k-th document, k being the least that gives no more than about `tokens`."""
    begins = [[*start, *document][:length] for document in documents if document]
    step = max(1, -(-sum(map(len, begins)) // tokens))
    return begins[::step]
