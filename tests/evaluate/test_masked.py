"""What counting guesses for hidden words, checked against counting by hand."""

import numpy as np
import pytest
import torch

from malmoi.data.batch import IGNORED, MaskedBatch
from malmoi.evaluate.masked import Counts, control_accuracy

MASK = 9
TEXT = np.array([1, 2, 3, 1, 2, 3, 1, 4, 3, 5, 2, 6, 2, 2, 2, 0], dtype=np.uint16)


def batch(rows, targets) -> MaskedBatch:
    return MaskedBatch(torch.tensor(rows), torch.tensor([len(row) for row in rows]), torch.tensor(targets))


@pytest.fixture
def counts():
    return Counts({"글": TEXT}, 10, MASK)


@pytest.mark.parametrize(
    ("row", "place", "wanted"),
    [
        ([1, MASK, 3], 1, 2),  # between 1 and 3: 2 twice, 4 once
        ([3, MASK, 7], 1, 1),  # never between them; behind 3 most often 1
        ([7, MASK, 6], 1, 2),  # 7 was never seen; before 6 stood 2
        ([MASK, MASK, MASK], 1, 2),  # nothing is seen: the most frequent of all
        ([1, 8, 3], 1, 8),  # what is not hidden is taken as it is
        ([1, 2, MASK], 2, 2),  # at the end of a row only the left one tells
    ],
)
def test_the_best_neighbours_decide(counts, row, place, wanted):
    targets = [IGNORED] * 3
    targets[place] = 5
    assert counts.guesses(batch([row], [targets])).tolist() == [wanted]


def test_accuracy_is_over_all_targets(counts):
    batches = [batch([[1, MASK, 3], [1, MASK, 3]], [[IGNORED, 2, IGNORED], [IGNORED, 4, IGNORED]])]
    assert control_accuracy(counts, batches) == {"unigram": 0.5, "neighbours": 0.5}
    assert control_accuracy(counts, []) == {}


def test_special_tokens_are_never_guessed():
    text = np.array([0, 0, 0, 1, 0, 0, 2, 0, 0, 1], dtype=np.uint16)
    assert Counts({"글": text}, 10, MASK, special=[0]).most_frequent == 1
