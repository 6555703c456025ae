"""Rows of unequal length: each once an epoch, the order a pure function of step and slot."""

import torch

from malmoi.data.labelled import EncodedText, collate_labelled
from malmoi.data.rows import Rows


def rows(**changes):
    texts = [EncodedText(torch.full((1 + number % 9,), number), number % 2) for number in range(64)]
    return Rows(texts, texts[:10], lambda text: len(text.tokens), collate_labelled, **{"rows": 8, **changes})


def test_every_row_comes_once_an_epoch():
    source = rows()
    seen = [int(value) for step in range(8) for value in source.batch(step, 0).tokens[:, 0]]
    assert sorted(seen) == list(range(64))


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
