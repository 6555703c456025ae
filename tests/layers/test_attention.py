"""Both ways to attend against the definition, written out for one query at a time."""

import pytest
import torch

from malmoi.layers.attention import attend, causal_mask


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


@pytest.mark.parametrize("mix", ["plain", "fused", "auto"])
@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
@pytest.mark.parametrize(("length", "seen"), [(6, 6), (1, 6), (3, 6)])
@pytest.mark.parametrize("window", [None, 2])
def test_attention_is_its_definition(mix, key_value_heads, length, seen, window):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, length, 8, generator=generator)
    key, value = (torch.randn(2, key_value_heads, seen, 8, generator=generator) for _ in range(2))
    causal = causal_mask(length, seen, query.device)
    near = None if window is None else ~torch.ones_like(causal).tril(seen - length - window)
    wanted = one_query_at_a_time(query, key, value, causal if near is None else causal & near)
    torch.testing.assert_close(attend(query, key, value, mask=near, mix=mix), wanted)


@pytest.mark.parametrize("mix", ["plain", "fused", "auto"])
@pytest.mark.parametrize("key_value_heads", [4, 2])
@pytest.mark.parametrize("causal", [True, False])
def test_a_bias_and_a_scale_with_their_gradients(mix, key_value_heads, causal):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 3, 8, generator=generator)
    key, value = (torch.randn(2, key_value_heads, 6, 8, generator=generator) for _ in range(2))
    bias = torch.randn(4, 3, 6, generator=generator, requires_grad=True)
    mask = causal_mask(3, 6, query.device) if causal else torch.ones(3, 6, dtype=torch.bool)
    wanted = one_query_at_a_time(query, key, value, mask, bias, scale=0.7)
    got = attend(query, key, value, bias=bias, scale=0.7, causal=causal, mix=mix)
    torch.testing.assert_close(got, wanted)
    slopes = torch.linspace(-1, 1, got.numel()).view_as(got)
    torch.testing.assert_close(*(torch.autograd.grad((it * slopes).sum(), bias) for it in (got, wanted)))


@pytest.mark.parametrize("mix", ["plain", "fused"])
def test_a_bias_beside_the_mask_of_each_row(mix):
    query, key, value = torch.randn(3, 2, 4, 5, 8).unbind()
    bias, real = torch.randn(4, 5, 5), torch.arange(5) < torch.tensor([5, 3])[:, None]
    got = attend(query, key, value, mask=real[:, None, None], bias=bias, causal=False, mix=mix)
    alone = attend(query[1:], key[1:, :, :3], value[1:, :, :3], bias=bias[:, :, :3], causal=False, mix=mix)
    torch.testing.assert_close(got[1:], alone)


@pytest.mark.parametrize("mix", ["plain", "fused"])
def test_a_mask_without_causality(mix):
    query, key, value = torch.randn(3, 2, 4, 5, 8).unbind()
    mask = torch.eye(5, dtype=torch.bool)
    torch.testing.assert_close(attend(query, key, value, mask=mask, causal=False, mix=mix), value)


@pytest.mark.parametrize("mix", ["plain", "fused"])
def test_dropout_keeps_the_mean(mix):
    torch.manual_seed(0)
    query, key = torch.randn(2, 64, 16, 16, 8).unbind()
    ones = torch.ones_like(key)
    dropped = attend(query, key, ones, dropout=0.5, mix=mix)
    assert not torch.equal(dropped, ones)
    assert abs(dropped.mean() - 1) < 0.05
