"""Both ways to attend against the definition, written out for one query at a time."""

import pytest
import torch

from malmoi.layers.attention import attend, causal_mask


def one_query_at_a_time(query, key, value, mask):
    """The definition: softmax over the keys that may be seen, a mean of their values."""
    result = torch.zeros_like(query)
    group = query.shape[1] // key.shape[1]
    for row, head, place in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).tolist():
        seen = mask[place]
        scores = key[row, head // group, seen] @ query[row, head, place] / query.shape[-1] ** 0.5
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
