"""States in fewer bits: less memory, and the training that one has without."""

import pytest
import torch

from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.train.compact_states import (
    from_signed_codes,
    from_square_codes,
    rounded,
    signed_codes,
    square_codes,
)
from malmoi.train.optimizers import OptimizerSettings, build_optimizers

TOKENS = torch.arange(256).view(4, 64) * 7 % 50


def learned(states, optimizer, betas=(0.9, 0.999)):
    """The loss after some steps, and the bytes of the states."""
    model = GPT(GPTConfig(vocabulary=50, context=64, width=32, layers=2, heads=2))
    initialize(model, 0)
    torch.manual_seed(0)
    settings = OptimizerSettings(optimizer=optimizer, state_precision=states, betas=betas)
    optimizers = build_optimizers(model, settings)
    for _ in range(60):
        logits = model.logits(TOKENS[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten())
        loss.backward()
        for one in optimizers:
            one.step()
            one.zero_grad()
    held = [value for one in optimizers for state in one.state.values() for value in state.values() if value.ndim]
    return loss.item(), sum(value.nbytes for value in held)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(("states", "share"), [("bfloat16", 2), ("8-bit", 4)])
def test_less_memory_reaches_the_loss(optimizer, states, share):
    (loss, size), (compact_loss, compact_size) = (learned(one, optimizer) for one in ("float32", states))
    assert compact_loss < 1.02 * loss
    assert compact_size == size // share


def test_one_step_is_that_of_pytorch(tmp_path):
    from malmoi.train.compact_states import CompactAdamW

    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 64)) for _ in range(2))
    group = {"lr": 0.1, "weight_decay": 0.2}
    for parameter, kind in ((ours, CompactAdamW), (theirs, torch.optim.AdamW)):
        parameter.grad = torch.linspace(2, -3, 64)
        kind([{"params": [parameter], **group}], betas=(0.9, 0.99)).step()
    torch.testing.assert_close(ours, theirs)


def test_rounding_keeps_the_mean_of_what_bfloat16_cannot_tell():
    torch.manual_seed(0)
    value = torch.full((100_000,), 1 + 2.0**-10)
    assert (value.to(torch.bfloat16) == 1).all()
    assert float(rounded(value).float().mean()) == pytest.approx(1 + 2.0**-10, abs=5e-5)
    exact = torch.tensor([0.0, -1.5, 3.0, 2.0**-100])
    assert torch.equal(rounded(exact).float(), exact)


def test_eight_bits_keep_the_mean_over_all_sizes_that_moments_have():
    torch.manual_seed(0)
    for size in (1e-8, 3e-5, 0.07, 20.0):
        value = torch.full((200_000,), size)
        assert float(from_signed_codes(signed_codes(-value)).mean()) == pytest.approx(-size, rel=2e-3)
        assert float(from_square_codes(square_codes(value**2)).mean()) == pytest.approx(size**2, rel=2e-3)


def test_eight_bits_tell_zero_and_end_where_they_end():
    value = torch.tensor([0.0, 1e-12, -1e-12, 0.5, -2.0, 1e6])
    assert from_signed_codes(signed_codes(value)).tolist() == [0, 0, 0, 0.5, -2.0, 28]
    assert from_square_codes(square_codes(value**2)).tolist() == [0, 0, 0, 0.25, 4.0, 896]
