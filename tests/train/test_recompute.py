"""Activations that are computed again: the same gradients, dropout too, and a fraction of the memory."""

from functools import partial

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.evaluate.kept_bytes import kept_bytes
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.train.recompute import check_recompute, recomputing

TOKENS = torch.arange(128).view(2, 64) % 50


@pytest.fixture
def model():
    model = GPT(GPTConfig(vocabulary=50, context=64, width=32, layers=4, heads=2, dropout=0.1))
    initialize(model, 0)
    return model.train()


def gradients(model, what):
    model.zero_grad()
    torch.manual_seed(1)
    with recomputing(model, what):
        model.logits(TOKENS).square().sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("what", ["blocks", "blocks:2", "feed_forward", "attention:3"])
def test_gradients_are_those_of_keeping_everything(model, what):
    kept = gradients(model, "")
    assert (gradients(model, what) - kept).norm() < 1e-6 * kept.norm()


def test_recomputing_every_block_saves_three_quarters_of_what_is_kept(model):
    def kept(what):
        with recomputing(model, what):
            return kept_bytes(partial(model, TOKENS), model.parameters())

    assert kept("blocks") < 0.25 * kept("")
    assert kept("blocks") < kept("blocks:2") < kept("feed_forward") < kept("")


def test_afterwards_the_model_is_as_it_was(model):
    with recomputing(model, "blocks"):
        pass
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize(("what", "message"), [("layers", "no block has"), ("blocks:0", "is not known")])
def test_what_is_not_there_is_refused(model, what, message):
    with pytest.raises(UserError, match=message), recomputing(model, what):
        pass


def test_every_fifth_of_four_blocks_is_refused(model):
    check_recompute(model, "blocks:4")
    with pytest.raises(UserError, match="there are only 4 blocks. Write a number up to 4"):
        check_recompute(model, "blocks:5")
