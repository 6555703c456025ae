"""Rows of unequal length: each once an epoch, the order a pure function of step and slot."""

from collections import Counter

import pytest
import torch

from malmoi.data.labelled import EncodedText, collate_labelled
from malmoi.data.rows import Rows


def rows(count=64, **changes):
    texts = [EncodedText(torch.full((1 + number % 9,), number), number % 2) for number in range(count)]
    return Rows(texts, texts[:10], lambda text: len(text.tokens), collate_labelled, **{"rows": 8, **changes})


def test_every_row_comes_once_an_epoch():
    source = rows()
    seen = [int(value) for step in range(8) for value in source.batch(step, 0).tokens[:, 0]]
    assert sorted(seen) == list(range(64))


@pytest.mark.parametrize(("count", "epochs"), [(31, 16), (33, 16), (17, 16), (5, 8), (300, 16)])
def test_every_row_comes_as_often_as_there_are_epochs(count, epochs):
    source = rows(count, rows=16)
    steps = source.steps(epochs)
    seen = Counter(int(value) for step in range(steps) for value in source.batch(step, 0).tokens[:, 0])
    assert len(seen) == count
    assert set(seen.values()) == {epochs}


@pytest.mark.parametrize("slots", [1, 3])
def test_what_fills_no_batch_comes_first_in_the_next_epoch(slots):
    source = rows(31, rows=16, slots=slots)
    batches = [source.batch(*divmod(number, slots)).tokens[:, 0].tolist() for number in range(3)]
    assert [len(batch) for batch in batches] == [16, 16, 16]
    assert set(batches[0]) | set(batches[1]) == set(range(31))
    assert source.steps(2) == round(62 / 16 / slots)


def test_asking_again_gives_the_same_batch():
    source = rows(slots=2)
    later = rows(slots=2)
    source.batch(0, 0)
    assert torch.equal(source.batch(3, 1).tokens, later.batch(3, 1).tokens)


def test_epochs_differ():
    source = rows()
    first = [source.batch(step, 0).tokens[:, 0].tolist() for step in range(8)]
    assert first != [source.batch(step, 0).tokens[:, 0].tolist() for step in range(8, 16)]


def test_validation_has_all_held_out_rows():
    seen = [int(value) for batch in rows().validation() for value in batch.tokens[:, 0]]
    assert sorted(seen) == list(range(10))
