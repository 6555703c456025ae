"""Every mix, pattern and length against dense masked attention: values, gradients, causality, a cache's few queries."""

from dataclasses import replace

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.layers.mixes.blocked import Blocked
from malmoi.layers.mixes.dense import Dense, Plain
from malmoi.layers.mixes.flex import Flex
from malmoi.layers.mixes.folded import Folded
from malmoi.layers.mixes.hashed import Hashed
from malmoi.layers.mixes.heads import Heads
from malmoi.layers.mixes.linear import Linear
from malmoi.layers.mixes.registry import AUTO, attend, choose
from malmoi.layers.pattern import FULL
from malmoi.layers.pattern_text import parse_pattern
from malmoi.layers.patterns import CAUSAL, Window

EXACT = [Plain(), Blocked(chunk=5), Folded(), AUTO]
PATTERNS = [
    "full", "causal", "window(5)", "causal & window(5)", "causal & (window(5) | global(0, 7))",
    "window(3, dilation=2) | global(2)", "causal & (window(4) | stride(4))", "causal & blocks(6)", "blocks(6)",
    "stride(5)", "causal & stride(5)", "causal & (blocks(4) | fixed(4))", "fixed(4, summary=2)", "global(3)",
    "causal & documents", "causal & documents & window(4)", "documents",
]  # fmt: skip
LENGTHS = [1, 7, 20, 33]

patterns = pytest.mark.parametrize("pattern", [parse_pattern(text) for text in PATTERNS], ids=str)


def heads_of(pattern, length, rows=2, heads=4, shared=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(rows, count, length, 8, generator=generator, requires_grad=True)
                         for count in (heads, shared, shared))  # fmt: skip
    documents = (torch.arange(length) * 2 + torch.arange(rows)[:, None]) // 9
    return Heads(query, key, value, pattern, documents=documents)


def able(heads):
    return [mix for mix in EXACT if not mix.refusal(heads)]


def with_gradients(heads, mix):
    result = attend(heads, mix)
    slopes = torch.linspace(-1, 1, result.numel()).view_as(result)
    return result, torch.autograd.grad((result * slopes).sum(), (heads.query, heads.key, heads.value))


@patterns
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("padded", [False, True])
def test_every_exact_mix_is_dense_attention(pattern, length, padded):
    heads = heads_of(pattern, length)
    if padded:
        heads = replace(heads, real=torch.arange(length) < torch.tensor([[length], [max(1, length - 4)]]))
    wanted, slopes = with_gradients(heads, Dense())
    for mix in able(heads):
        got, found = with_gradients(heads, mix)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(found, slopes, rtol=0, atol=1e-4)


@patterns
@pytest.mark.parametrize("last", [1, 4])
def test_a_few_queries_at_the_end_see_what_they_would_in_the_whole(pattern, last):
    heads = heads_of(pattern, 33)
    whole = attend(heads, Dense())[:, :, -last:]
    for mix in [Dense(), *able(heads)]:
        got = attend(replace(heads, query=heads.query[:, :, -last:]), mix)
        torch.testing.assert_close(got, whole, rtol=0, atol=1e-5)


@patterns
def test_a_few_queries_in_the_middle_see_what_they_would_in_the_whole(pattern):
    heads = heads_of(pattern, 33)
    whole = attend(heads, Dense())[:, :, 12:19]
    for mix in [Dense(), *able(heads)]:
        got = attend(replace(heads, query=heads.query[:, :, 12:19], later=14), mix)
        torch.testing.assert_close(got, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", [text for text in PATTERNS if text.startswith("causal")])
def test_nothing_looks_ahead(text):
    heads = heads_of(parse_pattern(text), 20, shared=4)
    later = [one.detach().clone() for one in (heads.query, heads.key, heads.value)]
    for one in later:
        one[:, :, 12:] += 1
    changed = replace(heads, query=later[0], key=later[1], value=later[2])
    for mix in (Dense(), Linear(chunk=4), Hashed(reach=4, rounds=2, buckets=4), *EXACT):
        if not mix.refusal(heads):
            assert torch.equal(attend(heads, mix)[:, :, :12], attend(changed, mix)[:, :, :12])


@pytest.mark.parametrize("mix", [Dense(), Plain(), Blocked(chunk=3)], ids=str)
def test_who_may_look_at_nothing_gets_zeros(mix):
    heads = heads_of(parse_pattern("causal & fixed(4)"), 10)
    got, slopes = with_gradients(heads, mix)
    assert not got[:, :, :3].any()
    assert got[:, :, 3:].any(-1).all()
    assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("mix", [Dense(), Plain(), Blocked(chunk=5)], ids=str)
def test_weights_are_dropped_and_their_gradients_with_them(mix):
    heads = replace(heads_of(CAUSAL & Window(6), 33), dropout=0.4)
    torch.manual_seed(1)
    got, slopes = with_gradients(heads, mix)
    step, direction = 1e-2, torch.randn_like(heads.value)
    torch.manual_seed(1)
    moved = attend(replace(heads, value=heads.value + step * direction), mix)
    along = torch.linspace(-1, 1, got.numel()).view_as(got)
    assert torch.allclose(((moved - got) * along).sum() / step, (slopes[2] * direction).sum(), rtol=1e-2, atol=1e-2)
    assert not torch.allclose(got, attend(replace(heads, dropout=0.0), mix), atol=1e-2)


@pytest.mark.parametrize("mix", [Blocked(), Folded()], ids=str)
def test_bfloat16_is_near_float32(mix):
    heads = heads_of(parse_pattern("causal & blocks(16)"), 40)
    low = replace(heads, query=heads.query.bfloat16(), key=heads.key.bfloat16(), value=heads.value.bfloat16())
    got = attend(low, mix)
    assert got.dtype == torch.bfloat16
    assert (got.float() - attend(heads, Dense())).abs().max() < 0.05
    got.float().sum().backward()


def test_rows_then_columns_of_a_grid_see_all_of_it():
    row, column = parse_pattern("blocks(6)"), parse_pattern("stride(6)")
    heads = heads_of(row, 24)
    value = attend(heads, Folded())
    reach = torch.autograd.grad(attend(replace(heads, key=heads.query, value=value, pattern=column), Folded())[0, 0, 9, 0],
                                heads.value)[0]  # fmt: skip
    assert reach[0, 0].any(-1).all()


def test_what_a_mix_cannot_do_it_refuses_by_naming_those_that_can():
    heads = heads_of(parse_pattern("causal & (window(4) | stride(4))"), 20)
    with pytest.raises(UserError, match="'folded' cannot do the pattern causal & .*These can: dense, plain, blocked"):
        attend(heads, Folded())
    with pytest.raises(UserError, match="'linear' cannot do the pattern"):
        attend(heads, Linear())
    with pytest.raises(UserError, match="'flex' cannot do gradients on a CPU. These can: dense, plain, blocked"):
        attend(heads, Flex())
    biased = replace(heads, bias=torch.zeros(4, 20, 20))
    with pytest.raises(UserError, match="'blocked' cannot do a bias. These can: dense, plain"):
        attend(biased, Blocked())


@pytest.mark.parametrize(
    ("pattern", "length", "mix"),
    [
        ("causal", 64, Plain()),
        ("causal", 300, Dense()),
        ("causal & window(64)", 300, Blocked()),
        ("causal & window(200)", 300, Dense()),
        ("causal & (window(64) | global(0))", 300, Blocked()),
        ("causal & stride(16)", 300, Folded()),
        ("causal & (stride(16) | global(0))", 300, Dense()),
    ],
)
def test_auto_goes_by_pattern_and_length(pattern, length, mix):
    assert choose(heads_of(parse_pattern(pattern), length)) == mix


def test_flex_asks_the_same_of_the_pattern(monkeypatch):
    from torch.nn.attention.flex_attention import flex_attention

    monkeypatch.setattr("malmoi.layers.mixes.flex.compiled", lambda: flex_attention)  # compiling takes half a minute
    for text in ("causal & (window(5) | global(0, 7))", "causal & documents"):
        heads = heads_of(parse_pattern(text), 33)
        with torch.no_grad():
            torch.testing.assert_close(attend(heads, Flex()), attend(heads, Dense()), rtol=0, atol=1e-5)


def test_full_attention_has_no_mask():
    assert heads_of(FULL, 7).mask() is None
