"""The loss of spans is the sum of the logarithms of the right beginnings and ends, over the passage alone."""

import torch

from malmoi.data.span_batch import SpanBatch
from malmoi.objectives.span import SpanExtraction


def batch(**changes):
    fields = {
        "tokens": torch.zeros(2, 4, dtype=torch.int64),
        "lengths": torch.tensor([4, 3]),
        "segments": torch.zeros(2, 4, dtype=torch.int64),
        "inside": torch.tensor([[True, False, True, True], [True, False, True, False]]),
        "starts": torch.tensor([2, 0]),
        "ends": torch.tensor([3, 0]),
    }
    return SpanBatch(**fields | changes)


def test_it_is_the_slow_formula_and_what_is_not_inside_counts_for_nothing():
    scores = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = SpanExtraction().loss(lambda *inputs: scores, batch())
    first = scores[0, [0, 2, 3]].log_softmax(0)
    second = scores[1, [0, 2]].log_softmax(0)
    torch.testing.assert_close(loss.total, -(first[1, 0] + first[2, 1] + second[0].sum()))
    assert int(loss.count) == 4
    loss.total.backward()
    assert not scores.grad[~batch().inside].any()


def test_right_beginnings_and_ends_are_counted():
    scores = torch.zeros(2, 4, 2)
    scores[0, 2, 0] = scores[0, 3, 1] = scores[1, 0, 0] = 5
    scores[1, 2, 1] = 5
    assert int(SpanExtraction().loss(lambda *inputs: scores, batch()).metrics["correct"]) == 3
