import math

import pytest
import torch
from torch import nn

from malmoi.evaluate.bits_per_byte import CodeLength, document_nats, encode_texts
from malmoi.models.model import Model, ModelConfig


class NextToken(Model):
    """A causal model that looks back over its whole window, so that wrong windows give wrong numbers."""

    def __init__(self, vocabulary: int, context: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = ModelConfig(vocabulary=vocabulary, context=context, width=8)
        self.embedding = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(8, vocabulary)

    def forward(self, tokens, cache=None):
        assert tokens.shape[1] <= self.config.context
        return self.embedding(tokens).cumsum(1)


class Bytes:
    """A tokenizer of bytes whose last id stands for every '?', which it cannot spell."""

    size = 257

    def encode_batch(self, texts):
        return [[256 if byte == ord("?") else byte for byte in text.encode()] for text in texts]

    def token_bytes(self, token):
        return b"" if token == 256 else bytes([token])


def naive_nats(model, document, start, context, stride):
    """Token by token: the window of token t is the one that the stride puts it in."""
    sequence, total = [*start, *document], 0.0
    before, document = len(start) - 1, sequence[1:]
    for t in range(before, len(document)):
        block = 0 if t < context else 1 + (t - context) // stride
        end = min(len(document), context + block * stride)
        begin = max(0, end - context)
        logits = model.logits(torch.tensor([sequence[begin : t + 1]]))[0, -1]
        total -= logits.double().log_softmax(-1)[sequence[t + 1]].item()
    return total


@pytest.mark.parametrize("start", [[10], [10, 4]])
@pytest.mark.parametrize("stride", [1, 3, 4, 8])
def test_windows_agree_with_scoring_one_token_at_a_time(stride, start):
    model = NextToken(vocabulary=11, context=8)
    documents = [[3, 1, 4, 1, 5], [], [9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6], [1] * 8, [2] * 9, [7]]
    expected = [naive_nats(model, document, start, 8, stride) for document in documents]
    assert document_nats(model, documents, start=start, stride=stride) == pytest.approx(expected, rel=1e-5)


def test_every_token_is_counted_once_and_the_mode_comes_back():
    model, scored = NextToken(vocabulary=5, context=4), []
    model.train()
    document_nats(model, [[1] * 13, [2] * 3], start=[0], advance=scored.append)
    assert sum(scored) == 16
    assert model.training


def test_a_uniform_model_over_bytes_needs_eight_bits_for_every_byte():
    model = NextToken(vocabulary=256, context=16)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    texts = ["말을 모은 책", "gathered words", ""]
    encoded = encode_texts(Bytes(), texts)
    nats = document_nats(model, [text.tokens for text in encoded], start=[0])
    total = sum((text.code_length(cost) for text, cost in zip(encoded, nats, strict=True)), CodeLength(0, 0, 0))
    assert total.bytes == sum(len(text.encode()) for text in texts)
    assert total.bits_per_byte == pytest.approx(8)


def test_text_behind_unknown_tokens_is_charged_in_full():
    [encoded] = encode_texts(Bytes(), ["뭐??"])
    assert encoded.unspelled == 2
    assert encoded.code_length(0).bits_per_byte == pytest.approx(8 * 2 / 5)


def test_nothing_to_score_is_not_a_number():
    assert math.isnan(CodeLength(0, 0, 0).bits_per_byte)
