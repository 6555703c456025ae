"""Two readings of a text with different dropout are learned to say the same."""

import torch
from torch import nn

from malmoi.data.batch import IGNORED, LabelledBatch
from malmoi.objectives.classification import Classification
from malmoi.objectives.consistency import Consistency

LABELS = torch.tensor([0, 1, IGNORED])


class Reader(nn.Module):
    """Gives each row of a batch one of the scores that it has in store; what it was asked about is kept."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, tokens, lengths, segments):
        self.asked = tokens
        return self.scores[: len(tokens)]


def batch():
    return LabelledBatch(torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.tensor([2, 2, 2]), LABELS)


def test_it_is_the_mean_cross_entropy_and_the_divergence_both_ways():
    model = Reader(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)))
    loss = Consistency(3.0).loss(model, batch())
    wanted = torch.tensor(0.0)
    for row in (0, 1):
        one, other = (model.scores[place].softmax(-1) for place in (row, row + 3))
        wanted = wanted - (one[LABELS[row]].log() + other[LABELS[row]].log()) / 2
        for left, right in ((one, other), (other, one)):
            wanted = wanted + 3.0 / 2 * (left * (left / right).log()).sum()
    torch.testing.assert_close(loss.total, wanted)
    assert int(loss.count) == 2
    assert torch.equal(model.asked, torch.cat([batch().tokens, batch().tokens]))
    theirs, own = (torch.autograd.grad(value, model.scores)[0] for value in (wanted, loss.total))
    torch.testing.assert_close(own, theirs)


def test_readings_that_agree_have_the_loss_of_one():
    scores = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    twice = Consistency(3.0).loss(Reader(scores.repeat(2, 1)), batch())
    once = Classification().loss(Reader(scores), batch())
    torch.testing.assert_close(twice.total, once.total)
    assert int(twice.metrics["correct"]) == int(once.metrics["correct"])


def test_held_out_texts_are_read_once():
    model = Reader(torch.randn(3, 2, generator=torch.Generator().manual_seed(0))).eval()
    held_out = Consistency(3.0).loss(model, batch())
    torch.testing.assert_close(held_out.total, Classification().loss(model, batch()).total)
    assert len(model.asked) == 3
