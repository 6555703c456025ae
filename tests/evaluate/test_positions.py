"""Loss along the context: each position's own mean, in spans that double."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.evaluate.positions import cut_into_rows, losses_by_position, spans, training_costs


def test_losses_are_those_of_each_position(make_model):
    model = make_model()
    rows = torch.randint(model.config.vocabulary, (3, 41), generator=torch.Generator().manual_seed(0))
    done = []
    losses = losses_by_position(model, rows, done.append)
    with torch.no_grad():
        wanted = F.cross_entropy(model.logits(rows[:, :-1]).transpose(1, 2), rows[:, 1:], reduction="none").mean(0)
    torch.testing.assert_close(losses.float(), wanted)
    assert sum(done) == 3


def test_spans_double():
    found = spans(torch.arange(300, dtype=torch.float64))
    assert [(start, end) for start, end, _ in found] == [(0, 64), (64, 128), (128, 256), (256, 300)]
    assert found[1][2] == pytest.approx(95.5)


def test_texts_are_cut_one_after_the_other():
    rows = cut_into_rows([[5, 6, 7], [8, 9], [5, 5]], separator=1, context=4, most=9)
    assert rows.tolist() == [[1, 5, 6, 7, 1], [1, 8, 9, 1, 5]]
    assert cut_into_rows([[5, 6]], separator=1, context=4, most=9).shape == (0, 5)


def test_a_reversible_model_keeps_less(make_model):
    models = {"ordinary": make_model(layers=6), "reversible": make_model(layers=6, reversible=True)}
    row = torch.randint(models["ordinary"].config.vocabulary, (1, 65))
    costs = training_costs(models, row, rounds=1)
    assert costs["ordinary"]["kept_bytes"] > 3 * costs["reversible"]["kept_bytes"] > 0
    assert costs["ordinary"]["seconds"] > 0
    assert all(parameter.grad is None for parameter in models["ordinary"].parameters())
