"""Reversible models: the gradient is autograd's, and what is kept does not grow with the depth."""

from functools import partial

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.evaluate.kept_bytes import kept_bytes
from malmoi.layers.reversible import through_ordinarily
from malmoi.models import gpt
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model


def model_of(**changes):
    shape = {"vocabulary": 31, "context": 24, "width": 32, "layers": 4, "heads": 4, "reversible": True} | changes
    model = build_model(GPTConfig(**shape), seed=3)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += torch.empty_like(parameter).normal_(0, 0.1, generator=generator)
    return model


def gradients(model, tokens):
    torch.manual_seed(5)
    loss = model.logits(tokens).square().mean()
    return loss, torch.autograd.grad(loss, list(model.parameters()))


def ordinarily(halves, modules, hidden):
    seeds = torch.randint(1 << 62, (len(halves),)).tolist() if any(module.training for module in modules) else None
    return through_ordinarily(halves, seeds, hidden)


@pytest.fixture
def tokens():
    return torch.randint(31, (2, 20), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "changes",
    [{}, {"layers": 32}, {"dropout": 0.1}, {"attention": "hashed(4, buckets=4)"}, {"short_convolution": 3},
     {"attention": ["window(5)", "linear"]}],
    ids=str,
)  # fmt: skip
def test_gradients_are_those_of_autograd(changes, tokens, monkeypatch):
    model = model_of(**changes)
    loss, found = gradients(model, tokens)
    monkeypatch.setattr(gpt, "through_reversibly", ordinarily)
    wanted_loss, wanted = gradients(model, tokens)
    torch.testing.assert_close(loss, wanted_loss)
    for got, want in zip(found, wanted, strict=True):
        assert (got - want).norm() < 1e-6 * want.norm() + 1e-8


def saved_bytes(model, tokens):
    return kept_bytes(partial(model, tokens), model.parameters())


def test_what_is_kept_does_not_grow_with_the_depth(tokens):
    shallow, deep = (saved_bytes(model_of(layers=layers), tokens) for layers in (2, 16))
    assert deep == shallow
    assert saved_bytes(model_of(layers=16, reversible=False), tokens) > 20 * deep


def test_dropout_leaves_the_random_numbers_of_others_alone(tokens):
    model = model_of(dropout=0.1)
    torch.manual_seed(5)
    loss = model.logits(tokens).square().mean()
    state = torch.get_rng_state()
    loss.backward()
    assert torch.equal(torch.get_rng_state(), state)


def test_the_lower_blocks_of_a_reversible_model_cannot_be_computed_once(tokens):
    with pytest.raises(UserError, match="cannot be divided"):
        model_of().through(torch.zeros(1, 4, 32), first=2)
