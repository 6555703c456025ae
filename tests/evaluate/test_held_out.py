import math

import numpy as np
import pytest
import torch
from torch import nn

from malmoi.corpus.document import Document
from malmoi.evaluate.compressors import compressed_bits_per_byte
from malmoi.evaluate.held_out import ALL, compare, thin_out
from malmoi.evaluate.ngram import NGram
from malmoi.generate.score import score
from malmoi.models.model import Model, ModelConfig


class ByteTokenizer:
    size, end, start = 257, 256, [256]

    def encode_batch(self, texts):
        return [list(text.encode()) for text in texts]

    def token_bytes(self, token):
        return bytes([token]) if token < 256 else b""


class Uniform(Model):
    def __init__(self):
        super().__init__()
        self.config = ModelConfig(vocabulary=257, context=16, width=4)
        self.head = nn.Linear(4, 257)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens, cache=None):
        return torch.zeros(*tokens.shape, 4)


TALE = "옛날 옛적에 호랑이가 담배를 피우던 시절의 이야기이다. "
NEWS = "The king said to his daughter that she should not go to the wood. "
HELD_OUT = [Document(TALE, "tales"), Document(NEWS, "news"), Document(NEWS[:20], "news")]
TRAIN = [Document(TALE * 20, "tales"), Document(NEWS * 20, "news")]


@pytest.fixture(scope="module")
def compared():
    shares = []
    table, scored = compare(Uniform(), ByteTokenizer(), HELD_OUT, TRAIN, 0, shares.append)
    return table, scored, sum(shares)


def test_every_source_and_all_of_them_have_a_row(compared):
    table, scored, done = compared
    assert list(table) == list(scored) == ["tales", "news", ALL]
    assert done == pytest.approx(1)
    assert scored[ALL].bytes == sum(len(document.text.encode()) for document in HELD_OUT)
    assert scored["news"].tokens == len(NEWS) + 20


def test_a_model_that_knows_nothing_is_the_uniform_control(compared):
    for row in compared[0].values():
        assert row["model"] == pytest.approx(row["uniform"]) == pytest.approx(math.log2(257))


def test_controls_are_those_of_their_modules(compared):
    table = compared[0]
    arrays = [np.frombuffer(document.text.encode(), dtype=np.uint8) for document in TRAIN]
    nats = NGram(arrays, 257, 2, 256).document_nats([np.frombuffer(TALE.encode(), dtype=np.uint8)])[0]
    assert table["tales"]["bigram"] == pytest.approx(nats / math.log(2) / len(TALE.encode()))
    assert table["news"]["gzip"] == compressed_bits_per_byte([NEWS, NEWS[:20]], "gzip")
    assert table[ALL]["6 bytes"] < table[ALL]["bigram"] < table[ALL]["unigram"] < table[ALL]["uniform"]


def test_a_text_stands_behind_what_its_vocabulary_puts_before_every_text(make_model, llama_tokenizer):
    model = make_model(vocabulary=llama_tokenizer.size)
    tokens = [*llama_tokenizer.opening, *llama_tokenizer.encode(TALE[:16])]
    expected = -sum(one.logprob for one in score(model, tokens)[len(llama_tokenizer.opening) :])
    _, scored = compare(model, llama_tokenizer, [Document(TALE[:16], "tales")], TRAIN, 0, lambda share: None)
    assert scored[ALL].nats == pytest.approx(expected, rel=1e-5)


def test_thinning_takes_every_kth_document():
    documents = [Document("가" * 10, f"source {number % 2}") for number in range(10)]
    assert thin_out(lambda: documents, 300) == (documents, 1)
    assert thin_out(lambda: documents, 100) == (documents[::3], 3)
    assert thin_out(list, 100) == ([], 1)
