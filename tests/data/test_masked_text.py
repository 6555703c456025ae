"""Rows of text become what an encoder learns from: whole, or as halves that go on or do not."""

import numpy as np
import pytest
import torch

from malmoi.data.batch import IGNORED
from malmoi.data.masked_text import MaskedText, text_room
from malmoi.data.masking import Masker
from malmoi.data.mixture import Mixture
from malmoi.data.sentence_pairs import cut_places, halves
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXTS = {
    "옛이야기": "여우가 곰에게 물었습니다. 너는 누구냐? 말모이는 낱말을 모은다는 뜻입니다. ",
    "tales": "The fox said to the bear: who are you? Words are gathered. ",
}
CONTEXT = 40


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text * 3 for text in TEXTS.values()], TokenizerSettings(vocabulary=300, frame="bert"))


@pytest.fixture
def make(tokenizer):
    """A source of batches of 8 rows of a kind, with as many slots as asked for."""
    stored = {
        name: np.array([*tokenizer.encode(text), tokenizer.end] * 30, dtype=np.uint16) for name, text in TEXTS.items()
    }

    def make(kind=None, share=0.15, slots=1):
        room = text_room(tokenizer, CONTEXT, kind)
        mixture = Mixture(stored, {"tales": stored["tales"][:150]}, {}, room, 8, slots)
        return MaskedText(mixture, tokenizer, Masker(tokenizer, share), kind)

    return make


def whole(batch):
    """The tokens before anything was hidden."""
    return torch.where(batch.targets == IGNORED, batch.tokens, batch.targets)


def test_a_row_stands_in_the_special_tokens_of_its_vocabulary(make, tokenizer):
    batch = make().batch(0, 0)
    assert batch.tokens.shape == (8, CONTEXT)
    assert whole(batch)[:, 0].tolist() == [tokenizer.special["[CLS]"]] * 8
    assert whole(batch)[:, -1].tolist() == [tokenizer.special["[SEP]"]] * 8
    assert batch.labels is None


def test_every_token_knows_its_document_and_an_end_belongs_to_the_text_before_it(make, tokenizer):
    batch = make().batch(0, 0)
    for tokens, documents in zip(whole(batch), batch.documents, strict=True):
        assert documents[0] == 0
        assert torch.equal(documents.diff().bool(), tokens[:-1] == tokenizer.end)


def test_a_batch_is_a_function_of_step_and_slot(make):
    one, other = make(slots=2), make(slots=2)
    assert torch.equal(one.batch(3, 1).tokens, other.batch(3, 1).tokens)
    assert not torch.equal(one.batch(3, 0).targets, one.batch(3, 1).targets)


def test_the_same_row_hides_other_words_in_another_epoch(make):
    source = make()
    seen = {}
    for step in range(40):
        batch = source.batch(step, 0)
        for row, targets in zip(whole(batch).tolist(), batch.targets.tolist(), strict=True):
            seen.setdefault(tuple(row), set()).add(tuple(targets))
    assert max(map(len, seen.values())) > 1


def test_held_out_words_are_hidden_once_for_all(make):
    source = make()
    one, other = list(source.validation()), list(source.validation())
    assert one
    assert all(torch.equal(first.tokens, second.tokens) for first, second in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", ["next-sentence", "sentence-order"])
def test_halves_stand_in_segments_and_half_of_them_go_on(make, kind):
    source = make(kind)
    batches = [source.batch(step, 0) for step in range(40)]
    assert torch.cat([batch.labels for batch in batches]).float().mean() == pytest.approx(0.5, abs=0.1)
    batch = batches[0]
    assert batch.tokens.shape[1] <= CONTEXT
    for row, (length, segments) in enumerate(zip(batch.lengths.tolist(), batch.segments, strict=True)):
        assert segments[:length].diff().ge(0).all()
        assert segments[0] == 0
        assert segments[length - 1] == 1
        assert (batch.targets[row, length:] == IGNORED).all()


def test_the_other_half_is_another_rows_or_stands_first():
    rows = [np.arange(10) + 100 * number for number in range(40)]
    following = halves(rows, [4] * 40, "next-sentence", np.random.default_rng(0))
    exchanged = halves(rows, [4] * 40, "sentence-order", np.random.default_rng(0))
    for number, pair in enumerate(following):
        other = number if pair.goes_on else (number + 1) % 40
        assert pair.first.tolist() == rows[number][:4].tolist()
        assert pair.second.tolist() == rows[other][4:].tolist()
    for number, pair in enumerate(exchanged):
        joined = np.concatenate([pair.first, pair.second] if pair.goes_on else [pair.second, pair.first])
        assert joined.tolist() == rows[number].tolist()


def test_a_row_is_cut_inside_a_text_where_a_word_begins(tokenizer):
    begins, separators = np.zeros((2, 16), bool), np.zeros((2, 16), bool)
    begins[0, [0, 5, 8, 9, 15]] = separators[0, 8] = True
    begins[1, 0] = True
    assert cut_places(begins, separators, np.random.default_rng(0)) == [5, 8]
