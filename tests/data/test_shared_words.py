"""Any text becomes pairs of texts that share words, with a label for every token, between batches of hidden words."""

import numpy as np
import pytest
import torch

from malmoi.data.batch import IGNORED, MaskedBatch
from malmoi.data.interleaved import EVERY, Interleaved
from malmoi.data.masked_text import MaskedText, text_room
from malmoi.data.masking import Masker, Words
from malmoi.data.mixture import Mixture
from malmoi.data.shared_words import PIECES, SharedWords, sharing_pairs
from malmoi.data.token_labels import TokenLabelledBatch
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXT = "여우가 곰에게 물었습니다. 너는 누구냐? The fox said to the bear: who are you? 말모이는 낱말을 모읍니다. "
CONTEXT, ROWS = 90, 8


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([TEXT * 3], TokenizerSettings(vocabulary=300, frame="bert"))


@pytest.fixture
def mixture(tokenizer):
    stored = np.array([*tokenizer.encode(TEXT), tokenizer.end] * 30, dtype=np.uint16)
    return Mixture({"tales": stored}, {"tales": stored[:300]}, {}, text_room(tokenizer, CONTEXT, "shared-words"), ROWS)


@pytest.fixture
def source(mixture, tokenizer):
    return SharedWords(mixture, tokenizer, Masker(tokenizer).words)


def test_a_label_says_whether_the_other_text_has_the_token(source, tokenizer):
    batch = source.batch(0, 0)
    special = set(tokenizer.special.values())
    for row, length in enumerate(batch.lengths.tolist()):
        ids, labels, segments = (part[row, :length].tolist() for part in (batch.tokens, batch.labels, batch.segments))
        texts = [{id for id, own in zip(ids, segments, strict=True) if own == segment} for segment in (0, 1)]
        for id, label, segment in zip(ids, labels, segments, strict=True):
            assert label == (IGNORED if id in special else id in texts[1 - segment])


def test_padding_has_no_label(source):
    batch = source.batch(0, 0)
    beyond = torch.arange(batch.tokens.shape[1]) >= batch.lengths[:, None]
    assert beyond.any()
    assert (batch.labels[beyond] == IGNORED).all()


def test_every_row_gives_some_short_pairs_that_fit(source):
    batch = source.batch(0, 0)
    assert len(batch.tokens) == ROWS * PIECES
    assert batch.tokens.shape[1] <= CONTEXT


def test_a_second_text_has_words_of_the_first_and_of_another_row():
    rows = np.arange(1, 1201).reshape(2, 600)  # every token is a word, and no two are alike
    pairs = sharing_pairs(rows, np.ones_like(rows, dtype=bool), separator=0, chance=np.random.default_rng(0))
    for number, (first, second) in enumerate(pairs):
        own = np.isin(second, first)
        assert len(second) / len(first) == pytest.approx(0.5, abs=0.15)
        assert own.mean() == pytest.approx(0.5, abs=0.15)
        assert (np.diff(second[own]) > 0).all()
        assert np.isin(second[~own], rows[1 - number // PIECES]).all()


def test_a_row_alone_takes_other_words_from_another_of_its_pieces():
    rows = np.arange(1, 601).reshape(1, 600)
    pairs = sharing_pairs(rows, np.ones_like(rows, dtype=bool), separator=0, chance=np.random.default_rng(0))
    for first, second in pairs:
        assert np.isin(second, first).mean() == pytest.approx(0.5, abs=0.15)


def test_ends_of_texts_are_left_out():
    rows = np.array([[7, 0, 8, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    pairs = sharing_pairs(rows, np.ones_like(rows, dtype=bool), separator=0, chance=np.random.default_rng(0))
    assert [first.tolist() for first, _ in pairs] == [[7], [8], [1, 2], [3, 4], [5, 6]]


def test_a_batch_is_a_function_of_step_and_slot(source):
    assert torch.equal(source.batch(3, 0).tokens, source.batch(3, 0).tokens)
    assert not torch.equal(source.batch(3, 0).lengths, source.batch(4, 0).lengths)


def test_the_last_of_some_batches_is_of_pairs_and_both_are_held_out(mixture, tokenizer, source):
    both = Interleaved(MaskedText(mixture, tokenizer, Masker(tokenizer)), source)
    kinds = [type(both.batch(step, 0)) for step in range(2 * EVERY)]
    assert kinds == ([MaskedBatch] * (EVERY - 1) + [TokenLabelledBatch]) * 2
    assert {type(batch) for batch in both.validation()} == {MaskedBatch, TokenLabelledBatch}


def test_a_word_that_the_vocabulary_cannot_spell_has_no_label(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "여우", "곰", "숲"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "strip_accents": false}')
    tokenizer = load_tokenizer(tmp_path)
    stored = np.array([*tokenizer.encode("여우 곰 말모이 숲 " * 20), tokenizer.end], dtype=np.uint16)
    source = SharedWords(Mixture({"tales": stored}, {}, {}, 24, 4), tokenizer, Words(tokenizer))
    batch = source.batch(0, 0)
    unknown = batch.tokens == words.index("[UNK]")
    assert unknown.any()
    assert (batch.labels[unknown] == IGNORED).all()
    assert (batch.labels[(batch.tokens > words.index("[MASK]"))] != IGNORED).all()
