"""Both dense ways to attend against the definition, written out for one query at a time."""

import pytest
import torch

from malmoi.layers.mixes.dense import Dense, Plain
from malmoi.layers.mixes.heads import Heads
from malmoi.layers.mixes.registry import AUTO, attend
from malmoi.layers.pattern import FULL
from malmoi.layers.pattern_text import parse_pattern
from malmoi.layers.patterns import CAUSAL

both = pytest.mark.parametrize("mix", [Plain(), Dense()], ids=str)
all_three = pytest.mark.parametrize("mix", [Plain(), Dense(), AUTO], ids=str)


def one_query_at_a_time(query, key, value, mask, bias=None, scale=None):
    """The definition: softmax over the keys that may be seen, a mean of their values."""
    result = torch.zeros_like(query)
    group = query.shape[1] // key.shape[1]
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    bias = torch.zeros(query.shape[1], *mask.shape) if bias is None else bias
    for row, head, place in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).tolist():
        seen = mask[place]
        scores = key[row, head // group, seen] @ query[row, head, place] * scale + bias[head, place, seen]
        result[row, head, place] = scores.softmax(0) @ value[row, head // group, seen]
    return result


@all_three
@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
@pytest.mark.parametrize(("length", "seen"), [(6, 6), (1, 6), (3, 6)])
@pytest.mark.parametrize("pattern", ["causal", "causal & window(2)", "full", "causal & stride(3) | global(1)"])
def test_attention_is_its_definition(mix, key_value_heads, length, seen, pattern):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, length, 8, generator=generator)
    key, value = (torch.randn(2, key_value_heads, seen, 8, generator=generator) for _ in range(2))
    pattern = parse_pattern(pattern)
    wanted = one_query_at_a_time(query, key, value, pattern.dense(length, seen))
    torch.testing.assert_close(attend(Heads(query, key, value, pattern), mix), wanted)


@all_three
@pytest.mark.parametrize("key_value_heads", [4, 2])
@pytest.mark.parametrize("pattern", [CAUSAL, FULL], ids=str)
def test_a_bias_and_a_scale_with_their_gradients(mix, key_value_heads, pattern):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 3, 8, generator=generator)
    key, value = (torch.randn(2, key_value_heads, 6, 8, generator=generator) for _ in range(2))
    bias = torch.randn(4, 3, 6, generator=generator, requires_grad=True)
    wanted = one_query_at_a_time(query, key, value, pattern.dense(3, 6), bias, scale=0.7)
    got = attend(Heads(query, key, value, pattern, bias=bias, scale=0.7), mix)
    torch.testing.assert_close(got, wanted)
    slopes = torch.linspace(-1, 1, got.numel()).view_as(got)
    torch.testing.assert_close(*(torch.autograd.grad((it * slopes).sum(), bias) for it in (got, wanted)))


@both
def test_a_bias_beside_the_padding_of_each_row(mix):
    query, key, value = torch.randn(3, 2, 4, 5, 8).unbind()
    bias, real = torch.randn(4, 5, 5), torch.arange(5) < torch.tensor([5, 3])[:, None]
    got = attend(Heads(query, key, value, FULL, real=real, bias=bias), mix)
    alone = attend(Heads(query[1:], key[1:, :, :3], value[1:, :, :3], FULL, bias=bias[:, :, :3]), mix)
    torch.testing.assert_close(got[1:], alone)


@both
def test_dropout_keeps_the_mean(mix):
    torch.manual_seed(0)
    query, key = torch.randn(2, 64, 16, 16, 8).unbind()
    ones = torch.ones_like(key)
    dropped = attend(Heads(query, key, ones, CAUSAL, dropout=0.5), mix)
    assert not torch.equal(dropped, ones)
    assert abs(dropped.mean() - 1) < 0.05
