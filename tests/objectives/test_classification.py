"""The loss of classes is the sum of the logarithms, whatever the batch."""

import torch

from malmoi.data.batch import IGNORED, LabelledBatch
from malmoi.objectives.classification import Classification


def test_it_is_a_sum_over_known_labels():
    scores = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    batch = LabelledBatch(torch.zeros(3, 1, dtype=torch.int64), torch.ones(3), torch.tensor([0, 0, IGNORED]))
    loss = Classification().loss(lambda tokens, lengths, segments: scores, batch)
    expected = -torch.log_softmax(scores, -1)[[0, 1], [0, 0]].sum()
    torch.testing.assert_close(loss.total, expected)
    assert (int(loss.count), int(loss.metrics["correct"])) == (2, 1)
