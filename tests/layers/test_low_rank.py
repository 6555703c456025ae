"""Low-rank adapters: nothing at first, trained from outside, the same when merged."""

import copy

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.layers.low_rank import apply_low_rank, merge_low_rank, merged_state
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model

TOKENS = torch.randint(31, (2, 10), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    config = GPTConfig(vocabulary=31, context=24, width=32, layers=2, heads=4, bias=True)
    model = build_model(config, seed=0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def trained(model):
    """Adapt and move every trainable number, as a training would."""
    apply_low_rank(model, rank=3, alpha=5.0, seed=7)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_it_starts_as_the_base(model):
    before = model.logits(TOKENS)
    apply_low_rank(model)
    assert torch.equal(model.logits(TOKENS), before)


def test_only_the_difference_is_trained(model):
    size = sum(parameter.numel() for parameter in model.parameters())
    apply_low_rank(model, rank=3, targets=["query", "down"])
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(trainable) == 2 * 2 * 2
    assert sum(p.numel() for p in model.parameters()) == size + 2 * 3 * ((32 + 32) + (128 + 32))
    model.logits(TOKENS).sum().backward()
    assert model.blocks[0].attention.query.base.weight.grad is None
    assert model.blocks[0].attention.query.widen.grad.any()


def test_merged_is_unmerged(model):
    adapted = trained(model)
    unmerged = adapted.logits(TOKENS)
    elsewhere = build_model(adapted.config, seed=1)
    elsewhere.load_state_dict(merged_state(adapted))
    torch.testing.assert_close(elsewhere.logits(TOKENS), unmerged)
    assert torch.equal(adapted.logits(TOKENS), unmerged)  # asking for the merged state changes nothing
    merge_low_rank(adapted)
    torch.testing.assert_close(adapted.logits(TOKENS), unmerged)
    assert adapted.state_dict().keys() == elsewhere.state_dict().keys()


def test_first_values_are_a_function_of_seed_and_name(model):
    one, same, other = (copy.deepcopy(model) for _ in range(3))
    for each, seed in ((one, 1), (same, 1), (other, 2)):
        apply_low_rank(each, seed=seed)
    narrow = [each.blocks[1].feed_forward.up.narrow for each in (one, same, other)]
    assert torch.equal(narrow[0], narrow[1])
    assert not torch.equal(narrow[0], narrow[2])


def test_an_unknown_target(model):
    with pytest.raises(UserError, match=r"no linear layer 'querry'.*'query'"):
        apply_low_rank(model, targets=["querry"])
