"""Linear attention: all pairs, chunks and one token after the other give the same, with their gradients."""

from dataclasses import replace

import pytest
import torch

from malmoi.layers.mixes.heads import Heads
from malmoi.layers.mixes.linear import Linear, features, in_chunks, normed, quadratic, recurrent
from malmoi.layers.mixes.registry import attend
from malmoi.layers.pattern import FULL
from malmoi.layers.patterns import CAUSAL


def heads_of(length, pattern=CAUSAL):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, count, length, 8, generator=generator).requires_grad_() for count in (4, 2, 2))
    return Heads(query, key, value, pattern)


@pytest.mark.parametrize("length", [1, 7, 37])
@pytest.mark.parametrize("chunk", [1, 8, 64])
def test_three_forms_of_one_function(length, chunk):
    heads = heads_of(length)
    forms = [quadratic(*features(heads)), recurrent(*features(heads)), in_chunks(*features(heads), chunk)]
    results = [normed(form, heads) for form in forms]
    slopes = [
        torch.autograd.grad(
            (one * torch.linspace(-1, 1, one.numel()).view_as(one)).sum(), (heads.query, heads.key, heads.value)
        )
        for one in results
    ]
    for result, slope in zip(results[1:], slopes[1:], strict=True):
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(slope, slopes[0], rtol=0, atol=1e-4)


def test_weights_are_positive_and_sum_to_one():
    heads = replace(heads_of(20), value=torch.ones(2, 2, 20, 8))
    torch.testing.assert_close(attend(heads, Linear(chunk=4)), torch.ones(2, 4, 20, 8))


def test_padding_is_not_looked_at():
    heads = heads_of(20, FULL)
    real = torch.arange(20) < torch.tensor([[20], [12]])
    alone = replace(heads, query=heads.query[1:], key=heads.key[1:, :, :12], value=heads.value[1:, :, :12])
    got = attend(replace(heads, real=real), Linear())
    torch.testing.assert_close(got[1:], attend(alone, Linear()))


def test_sums_go_on_where_the_text_was_cut():
    heads, sums = heads_of(37), torch.zeros(2, 2, 8, 9)
    parts = [
        attend(replace(heads, query=query.detach(), key=key.detach(), value=value.detach(), sums=sums), Linear(chunk=4))
        for query, key, value in zip(
            heads.query.split(10, 2), heads.key.split(10, 2), heads.value.split(10, 2), strict=True
        )
    ]
    torch.testing.assert_close(torch.cat(parts, 2), attend(heads, Linear()), rtol=0, atol=1e-5)
