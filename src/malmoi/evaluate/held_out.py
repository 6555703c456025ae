"""A model beside its controls on the held-out text of each source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from malmoi.corpus.document import Document
from malmoi.evaluate.bits_per_byte import CodeLength, document_nats, encode_texts
from malmoi.evaluate.compressors import COMPRESSORS, compressed_bits_per_byte
from malmoi.evaluate.ngram import NGram

if TYPE_CHECKING:
    from malmoi.models.model import Model
    from malmoi.tokenizers.tokenizer import Tokenizer

Table: TypeAlias = dict[str, dict[str, float]]
"""Source -> name of a model or control -> bits per byte."""

ALL = "all sources"
"""The row over all sources."""

ORDERS = {"uniform": 0, "unigram": 1, "bigram": 2}
"""Controls over the tokenizer's tokens and how many tokens they look at."""

BYTES = "6 bytes"
"""The control that knows no tokenizer: an n-gram model over runs of six bytes."""


def thin_out(documents: Callable[[], Iterable[Document]], limit: int) -> tuple[list[Document], int]:
    """Every k-th document, k being the least that leaves about `limit` UTF-8 bytes.

    Returns:
        the documents, and k.
    """
    total = sum(len(document.text.encode()) for document in documents())
    step = max(1, -(-total // limit))
    return [document for number, document in enumerate(documents()) if number % step == 0], step


def compare(
    model: Model,
    tokenizer: Tokenizer,
    held_out: Sequence[Document],
    train: Sequence[Document],
    stride: int,
    advance: Callable[[float], None],
) -> tuple[Table, dict[str, CodeLength]]:
    """Bits per byte of the model, of n-gram models of the training text, and of compressors.

    Args:
        stride: see `document_nats`.
        advance: called with the share of the work done since the last call; the shares sum to 1.

    Returns:
        bits per byte by source, and what was scored of each source.
    """
    texts = [document.text for document in held_out]
    encoded = encode_texts(tokenizer, texts)
    tokens = [text.tokens for text in encoded]
    whole = max(1, sum(len(one) for one in tokens))
    nats = {"model": document_nats(model, tokens, tokenizer.start, stride, lambda done: advance(0.8 * done / whole))}
    arrays = [np.array(one, dtype=np.int64) for one in tokens]
    ngram_train = list(_token_arrays(tokenizer, [document.text for document in train]))
    for name, order in ORDERS.items():
        nats[name] = NGram(ngram_train, tokenizer.size, order, tokenizer.end).document_nats(arrays)
        advance(0.05)
    costs = {
        name: [text.code_length(cost) for text, cost in zip(encoded, each, strict=True)] for name, each in nats.items()
    }
    in_bytes = NGram([_bytes(document.text) for document in train], 257, 6, 256).document_nats(
        [_bytes(text) for text in texts]
    )
    costs[BYTES] = [CodeLength(cost, text.bytes, text.bytes) for text, cost in zip(encoded, in_bytes, strict=True)]
    table: Table = {}
    scored = {}
    for source in [*dict.fromkeys(document.source for document in held_out), ALL]:
        chosen = [number for number, document in enumerate(held_out) if source in (document.source, ALL)]
        sums = {name: _sum(each[number] for number in chosen) for name, each in costs.items()}
        scored[source] = sums["model"]
        table[source] = {name: cost.bits_per_byte for name, cost in sums.items()}
        for compressor in COMPRESSORS:
            table[source][compressor] = compressed_bits_per_byte([texts[number] for number in chosen], compressor)
    advance(0.05)
    return table, scored


def _sum(costs: Iterable[CodeLength]) -> CodeLength:
    return sum(costs, CodeLength(0.0, 0, 0))


def _token_arrays(tokenizer: Tokenizer, texts: Sequence[str], group: int = 512) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(texts), group):
        for tokens in tokenizer.encode_batch(list(texts[start : start + group])):
            yield np.array(tokens, dtype=np.int64)


def _bytes(text: str) -> NDArray[np.int64]:
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)
