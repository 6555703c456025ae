"""Codes that learn: the model computes with rounded numbers, and what is left of it is quantized as before."""

import pytest
import torch
from torch import nn

from malmoi.compress.rounding import int4_matrix, int8_matrix
from malmoi.core.errors import UserError
from malmoi.layers.compressed import CompressedLinear
from malmoi.layers.matrices.int4 import Int4Settings
from malmoi.layers.matrices.int8 import Int8Settings
from malmoi.layers.matrices.learning import codes_learn

WEIGHT = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
HIDDEN = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
KINDS = {"int8": lambda: int8_matrix(WEIGHT, Int8Settings()), "int4": lambda: int4_matrix(WEIGHT, Int4Settings())}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_with_rounding_is_what_is_left(kind):
    layer = CompressedLinear(KINDS[kind](), None)
    model, before = nn.Sequential(layer), layer(HIDDEN)
    target = before + 1
    with codes_learn(model):
        torch.testing.assert_close(model(HIDDEN), before, rtol=1e-5, atol=1e-5)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(20):
            optimizer.zero_grad()
            (model(HIDDEN) - target).square().mean().backward()
            optimizer.step()
        trained = model(HIDDEN).detach()
    assert type(layer.matrix) is type(KINDS[kind]())
    assert not layer.matrix.codes.requires_grad
    torch.testing.assert_close(model(HIDDEN), trained, rtol=1e-5, atol=1e-5)
    assert torch.equal(layer.matrix.scale, KINDS[kind]().scale)
    assert (trained - target).square().mean() < 0.8 * (before - target).square().mean()


def test_the_gradient_passes_through_the_rounding():
    layer = CompressedLinear(KINDS["int4"](), None)
    plain = layer.weight.clone().requires_grad_()
    nn.functional.linear(HIDDEN, plain).square().sum().backward()
    with codes_learn(nn.Sequential(layer)):
        layer(HIDDEN).square().sum().backward()
        torch.testing.assert_close(layer.matrix.numbers.grad, plain.grad, rtol=1e-4, atol=1e-3)


def test_a_training_that_fails_leaves_rounded_layers_behind():
    layer = CompressedLinear(KINDS["int8"](), None)
    with pytest.raises(RuntimeError, match="out of memory"), codes_learn(nn.Sequential(layer)):
        raise RuntimeError("out of memory")
    assert type(layer.matrix) is type(KINDS["int8"]())


def test_without_codes_there_is_nothing_to_learn():
    with pytest.raises(UserError, match="no layer of whole numbers"), codes_learn(nn.Linear(2, 2)):
        pass
