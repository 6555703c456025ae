"""Bits per byte: how many bits a model needs for each UTF-8 byte of a text it has not seen.

What is counted: every token of every document, once. What a text begins behind (`Tokenizer.start`) stands before each
document as context and is never scored, since it spells no byte. Bytes that a tokenizer cannot spell (behind an unknown
token) are charged 8 bits each, so that no vocabulary gains by hiding text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

from malmoi.core.accelerator import device_of
from malmoi.data.batch import IGNORED
from malmoi.models.stateful import StatefulModel

if TYPE_CHECKING:
    from malmoi.models.model import Model
    from malmoi.tokenizers.tokenizer import Tokenizer

ROW_TOKENS = 8_192
"""Tokens in one forward pass."""

LOGITS = 16_777_216
"""Logits held at once (64 MiB of float32)."""


@dataclass(frozen=True)
class CodeLength:
    """What a text costs under a model.

    Attributes:
        nats: negative log-likelihood of the text, summed.
        tokens: how many tokens were scored.
        bytes: UTF-8 bytes of the text.
    """

    nats: float
    tokens: int
    bytes: int

    def __add__(self, other: CodeLength) -> CodeLength:
        return CodeLength(self.nats + other.nats, self.tokens + other.tokens, self.bytes + other.bytes)

    @property
    def bits_per_byte(self) -> float:
        """Bits for each byte of text; not a number when there is no text."""
        return self.nats / math.log(2) / self.bytes if self.bytes else math.nan


@dataclass(frozen=True)
class EncodedText:
    """A document as a model sees it.

    Attributes:
        tokens: the ids of its text, without end-of-text.
        bytes: UTF-8 bytes of the text.
        unspelled: how many of these bytes the tokens do not spell.
    """

    tokens: list[int]
    bytes: int
    unspelled: int

    def code_length(self, nats: float) -> CodeLength:
        """The cost of the document when its tokens cost `nats`."""
        return CodeLength(nats + self.unspelled * math.log(256), len(self.tokens), self.bytes)


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[EncodedText]:
    """Encode documents and count the bytes that their tokens spell."""
    spelled = [len(tokenizer.token_bytes(token)) for token in range(tokenizer.size)]
    encoded = []
    for text, tokens in zip(texts, tokenizer.encode_batch(list(texts)), strict=True):
        size = len(text.encode())
        encoded.append(EncodedText(tokens, size, max(0, size - sum(spelled[token] for token in tokens))))
    return encoded


@dataclass(frozen=True)
class _Window:
    """`inputs` predict `targets`; the last `scored` of them are counted, for document number `document`."""

    document: int
    inputs: list[int]
    targets: list[int]
    scored: int


def _windows(documents: Sequence[Sequence[int]], start: Sequence[int], context: int, stride: int) -> Iterator[_Window]:
    """Windows of at most `context` tokens over each document; every token is scored in exactly one of them."""
    for number, tokens in enumerate(documents):
        sequence = [*start, *tokens]
        done, last = len(start) - 1, len(sequence) - 1
        while done < last:
            end = min(last, context if done < context else done + stride)
            begin = max(0, end - context)
            yield _Window(number, sequence[begin:end], sequence[begin + 1 : end + 1], end - done)
            done = end


@torch.inference_mode()
def document_nats(
    model: Model,
    documents: Sequence[Sequence[int]],
    start: Sequence[int],
    stride: int = 0,
    advance: Callable[[int], None] = lambda tokens: None,
) -> list[float]:
    """Negative log-likelihood of each document in nats.

    Args:
        documents: token ids of each document, without end-of-text.
        start: ids put before each document as context, at least one: `Tokenizer.start`.
        stride: how many new tokens a window scores after a document's first window; the rest of the window is
            context. 0 means half the model's context; the whole context is fastest and flatters least. A model with a
            state needs no windows: it carries its state through the whole document.
        advance: called with the number of tokens scored since the last call.
    """
    context = model.config.context
    if isinstance(model, StatefulModel):
        context = len(start) + max((len(tokens) for tokens in documents), default=0)
    windows = sorted(_windows(documents, start, context, stride or max(1, context // 2)), key=lambda w: -len(w.inputs))
    remaining = iter(windows)
    nats = [0.0] * len(documents)
    training = model.training
    model.eval()
    try:
        for first in remaining:
            rows = [first, *islice(remaining, max(0, ROW_TOKENS // len(first.inputs) - 1))]
            for window, cost in zip(rows, _score(model, rows), strict=True):
                nats[window.document] += cost
            advance(sum(window.scored for window in rows))
    finally:
        model.train(training)
    return nats


def _score(model: Model, rows: list[_Window]) -> list[float]:
    """Nats of the scored tokens of each window; short windows are padded on the right, where nobody looks."""
    device = device_of(model)
    length = len(rows[0].inputs)
    tokens = torch.tensor([row.inputs + [0] * (length - len(row.inputs)) for row in rows], device=device)
    targets = torch.full(tokens.shape, IGNORED, device=device)
    for number, row in enumerate(rows):
        end = len(row.inputs)
        targets[number, end - row.scored : end] = torch.tensor(row.targets[-row.scored :], device=device)
    nats = torch.zeros(len(rows), dtype=torch.float64, device=device)
    arguments = [model.cache(len(rows), length)] if isinstance(model, StatefulModel) else []
    part = ROW_TOKENS if arguments else length
    for inputs, wanted in zip(torch.split(tokens, part, 1), torch.split(targets, part, 1), strict=True):
        counted = wanted != IGNORED
        costs = torch.zeros(wanted.shape, dtype=torch.float64, device=device)
        costs[counted] = target_nats(model, model(inputs, *arguments)[counted], wanted[counted])
        nats += costs.sum(1)
    return nats.tolist()


def target_nats(model: Model, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(tokens,) float64 negative log-probabilities, the logits of a part at a time.

    Args:
        hidden: (tokens, width) the states that predict.
        targets: (tokens,) int64 what they are to predict.
    """
    size = max(1, LOGITS // model.config.vocabulary)
    losses = [
        torch.nn.functional.cross_entropy(model.head(part).float(), wanted, reduction="none")
        for part, wanted in zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
    ]
    return torch.cat(losses).double()
