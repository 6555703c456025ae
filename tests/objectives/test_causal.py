"""The loss of the next token: a sum and a count over what is not ignored."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import IGNORED, TextBatch
from malmoi.objectives.causal import Causal


def batch(model, ignored: float) -> TextBatch:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(model.config.vocabulary, (3, 20), generator=generator)
    targets = torch.randint(model.config.vocabulary, (3, 20), generator=generator)
    targets[torch.rand(3, 20, generator=generator) < ignored] = IGNORED
    return TextBatch(tokens, targets)


@pytest.mark.parametrize("ignored", [0.0, 0.05, 0.7])
def test_it_is_the_plain_cross_entropy(make_model, ignored):
    model = make_model()
    rows = batch(model, ignored)
    loss = Causal().loss(model, rows)
    loss.total.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    plain = F.cross_entropy(model.logits(rows.tokens).flatten(0, 1), rows.targets.flatten(), reduction="sum")
    plain.backward()
    assert int(loss.count) == int((rows.targets != IGNORED).sum())
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.total, plain)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-4, rtol=1e-4)


def test_targets_are_counted_before_they_go_to_a_device(model):
    rows = batch(model, 0.7)
    assert rows.to(torch.device("cpu")).counted == int((rows.targets != IGNORED).sum())
    assert rows.to(torch.device("meta")).counted is None  # where shapes must not depend on the data


def test_a_head_that_is_more_than_linear_sees_only_what_counts(make_model):
    model = make_model()
    model.head = nn.Sequential(model.head, nn.Tanh())
    seen = []
    model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[:-1].numel()))
    rows = batch(model, 0.7)
    loss = Causal().loss(model, rows)
    assert seen == [int(loss.count)]


def test_a_batch_that_counts_nothing_costs_nothing(make_model):
    model = make_model()
    loss = Causal().loss(model, batch(model, 1.1))
    loss.total.backward()
    assert (int(loss.count), float(loss.total.detach())) == (0, 0.0)
