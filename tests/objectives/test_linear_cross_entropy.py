"""The loss of a linear head in parts is the plain one, and the logits of all rows are never held."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.data.batch import IGNORED
from malmoi.objectives.linear_cross_entropy import LEAST_ROWS, LOGITS, linear_cross_entropy


def example(rows, width, vocabulary):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator).requires_grad_()
    weight = (0.1 * torch.randn(vocabulary, width, generator=generator)).requires_grad_()
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    targets[::5] = IGNORED
    return hidden, weight, targets


@pytest.mark.parametrize(("rows", "vocabulary"), [(7, 11), (2 * LEAST_ROWS + 3, LOGITS // LEAST_ROWS + 1)])
def test_loss_and_gradients_are_the_plain_ones(rows, vocabulary):
    hidden, weight, targets = example(rows, 8, vocabulary)
    plain = F.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORED, reduction="sum")
    wanted = torch.autograd.grad(3 * plain, (hidden, weight))
    parts = linear_cross_entropy(hidden, weight, targets)
    found = torch.autograd.grad(3 * parts, (hidden, weight))
    torch.testing.assert_close(parts, plain)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).norm() < 5e-6 * other.norm()


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, targets = example(5, 8, 11)
    linear_cross_entropy(hidden, weight.detach(), targets).backward()
    assert hidden.grad is not None


def test_products_are_in_the_precision_of_autocast():
    hidden, weight, targets = example(64, 32, 50)
    whole = float(linear_cross_entropy(hidden, weight, targets).detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short = linear_cross_entropy(hidden, weight, targets)
    short.backward()
    assert short.dtype == weight.grad.dtype == torch.float32
    assert 0 < abs(float(short.detach()) - whole) < 0.01 * whole


def test_the_logits_are_not_kept():
    hidden, weight, targets = example(64, 4, 1_000)
    largest = []
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: largest.append(kept.numel()) or kept, lambda kept: kept):
        linear_cross_entropy(hidden, weight, targets)
    assert max(largest, default=0) < 64 * 1_000


@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.01), (torch.float16, 0.002)])
def test_short_formats_lose_no_more_than_their_rounding_whatever_the_loss_scale(dtype, most):
    hidden, weight, targets = example(16 * LEAST_ROWS, 8, LOGITS // LEAST_ROWS + 1)
    wanted = torch.autograd.grad(linear_cross_entropy(hidden, weight, targets), (hidden, weight))
    with torch.autocast("cpu", dtype=dtype):
        short = linear_cross_entropy(hidden, weight, targets)
    found = torch.autograd.grad(65_536 * short, (hidden, weight))
    for one, other in zip(found, wanted, strict=True):
        assert (one / 65_536 - other).norm() < most * other.norm()
