"""Rows of whole documents: each begins behind the end of the one before, and nothing of another is in it."""

import numpy as np
import torch

from malmoi.data.batch import IGNORED
from malmoi.data.mixture import Mixture

END = 9
DOCUMENTS = {"names": np.array([1, 2, END, 3, END, 4, 5, 6, 7, END], dtype=np.uint16)}


def mixture(**changes) -> Mixture:
    settings = {"context": 4, "rows": 3, "row": "document"} | changes
    return Mixture(DOCUMENTS, DOCUMENTS, {}, **settings)


def test_every_document_is_a_row_behind_the_end_of_another():
    batch = mixture().batch(0, 0)
    rows = sorted(batch.tokens.tolist())
    assert rows == [[END, 1, 2, 0], [END, 3, 0, 0], [END, 4, 5, 6]]


def test_a_row_learns_its_document_and_its_end():
    (batch,) = mixture().validation()
    assert batch.targets.tolist() == [[1, 2, END, IGNORED], [3, END, IGNORED, IGNORED], [4, 5, 6, 7]]


def test_each_document_comes_once_an_epoch():
    source = mixture(rows=1)
    firsts = [int(source.batch(step, 0).tokens[0, 1]) for step in range(6)]
    assert sorted(firsts[:3]) == sorted(firsts[3:]) == [1, 3, 4]
    assert source.shares(6)["names"].epochs == 2


def test_accumulation_sees_the_documents_of_one_large_batch():
    parts = torch.cat([mixture(rows=1, slots=3).batch(1, slot).tokens for slot in range(3)])
    assert torch.equal(mixture().batch(1, 0).tokens, parts)


def test_a_single_short_document_is_enough():
    batch = Mixture({"말": np.array([5, END], dtype=np.uint16)}, {}, {}, 8, 1, row="document").batch(0, 0)
    assert batch.targets[0, :2].tolist() == [5, END]
