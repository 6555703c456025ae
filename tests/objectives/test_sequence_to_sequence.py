"""The loss of a translation is PyTorch's, as a sum over the tokens that are real."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.data.pair_batches import EncodedPair, collate_pairs
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.objectives.sequence_to_sequence import SequenceToSequence

PAIRS = [EncodedPair([3, 4, 5, 0], [6, 7, 0]), EncodedPair([8, 0], [9, 9, 9, 9, 0]), EncodedPair([0], [0])]


@pytest.fixture
def model(shake):
    shape = {"vocabulary": 11, "context": 12, "width": 16, "layers": 1, "heads": 2, "start": 0}
    return shake(build_model(EncoderDecoderConfig(**shape), seed=0), deviation=0.3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_a_sum_over_real_targets_with_its_gradients(model, smoothing):
    batch = collate_pairs(PAIRS, 0)
    loss = SequenceToSequence(smoothing).loss(model, batch)
    loss.total.backward()
    ours = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    logits = model.logits(batch.source, batch.source_lengths, batch.inputs).flatten(0, 1)
    wanted = F.cross_entropy(logits, batch.targets.flatten(), label_smoothing=smoothing, reduction="sum")
    wanted.backward()
    torch.testing.assert_close(loss.total, wanted)
    assert int(loss.count) == 9
    for got, parameter in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad, rtol=1e-4, atol=1e-6)


def test_the_metrics_do_not_smooth(model):
    batch = collate_pairs(PAIRS, 0)
    plain, smooth = (SequenceToSequence(smoothing).loss(model, batch) for smoothing in (0.0, 0.3))
    torch.testing.assert_close(smooth.metrics["cross_entropy"], plain.total.detach())
    assert smooth.metrics["correct"] == plain.metrics["correct"]


def test_pairs_together_are_the_sum_of_pairs_alone(model):
    objective = SequenceToSequence(0.1)
    together = objective.loss(model, collate_pairs(PAIRS, 0))
    alone = [objective.loss(model, collate_pairs([pair], 0)) for pair in PAIRS]
    torch.testing.assert_close(together.total, sum(loss.total for loss in alone))
    assert together.count == sum(loss.count for loss in alone)
