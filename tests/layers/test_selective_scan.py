"""Many tokens at a time give what one after the other gives: outputs, the last state and every gradient."""

import pytest
import torch

from malmoi.layers.selective_scan import chunked_scan, sequential_scan


@pytest.fixture
def inputs():
    """Makes values, decays from hardly any to nearly all, writes, reads and a first state, all with gradients."""

    def make(length, rows=2, heads=3, width=4, size=5):
        torch.manual_seed(length)
        values = torch.randn(rows, length, heads, width)
        log_decays = -torch.rand(rows, length, heads).pow(4) * 8
        writes, reads = torch.randn(2, rows, length, size).unbind()
        state = torch.randn(rows, size, heads, width)
        return [one.requires_grad_() for one in (values, log_decays, writes, reads, state)]

    return make


@pytest.mark.parametrize("length", [1, 7, 8, 63, 130])
@pytest.mark.parametrize("chunk", [1, 8, 64])
def test_chunks_agree_with_the_formula(inputs, length, chunk):
    given = inputs(length)
    weights = torch.randn(2, length, 3, 4), torch.randn(2, 5, 3, 4)
    found = []
    for outputs, state in (sequential_scan(*given), chunked_scan(*given, chunk)):
        total = (outputs * weights[0]).sum() + (state * weights[1]).sum()
        found.append([outputs, state, *torch.autograd.grad(total, given)])
    for slow, fast in zip(*found, strict=True):
        assert (slow - fast).norm() <= 1e-5 * slow.norm() + 1e-6
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)


def test_a_text_in_two_parts(inputs):
    values, log_decays, writes, reads, state = inputs(40)
    whole, last = chunked_scan(values, log_decays, writes, reads, state, 16)
    parts, between = [], state
    for part in (slice(0, 13), slice(13, 40)):
        output, between = chunked_scan(
            values[:, part], log_decays[:, part], writes[:, part], reads[:, part], between, 16
        )
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(between, last, rtol=1e-5, atol=1e-5)
