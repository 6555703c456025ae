"""Layers with a gradient written by hand, or a trick, against the obvious way."""

import math

import pytest
import torch
from torch.nn import functional as F

from malmoi.layers.bigram import BigramTable
from malmoi.layers.feed_forward import FeedForward
from malmoi.layers.norms import LayerNorm, RMSNorm
from malmoi.layers.relative_positions import RelativePositions, distance_buckets
from malmoi.layers.rotary import rotary_table, rotate
from malmoi.layers.seeded import fill_normal
from malmoi.layers.short_convolution import ShortConvolution
from malmoi.layers.sinusoids import sinusoids


def gradients(result, *inputs):
    return torch.autograd.grad(result.mul(torch.linspace(-1, 1, result.numel()).view_as(result)).sum(), inputs)


def test_rms_norm_with_its_gradient():
    norm, hidden = RMSNorm(12, 1e-3), torch.randn(2, 5, 12, requires_grad=True)
    torch.nn.init.normal_(norm.weight)
    obvious = hidden * (hidden.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * norm.weight
    torch.testing.assert_close(norm(hidden), obvious)
    torch.testing.assert_close(gradients(norm(hidden), hidden, norm.weight), gradients(obvious, hidden, norm.weight))
    with torch.no_grad():
        torch.testing.assert_close(norm(hidden), obvious)


def test_rms_norm_of_short_numbers_has_their_gradient():
    norm, hidden = RMSNorm(12, 1e-3).bfloat16(), torch.randn(2, 5, 12).bfloat16().requires_grad_()
    torch.nn.init.normal_(norm.weight)
    exact, weight = (one.detach().float().requires_grad_() for one in (hidden, norm.weight))
    wanted = exact * (exact.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * weight
    found = gradients(norm(hidden), hidden, norm.weight)
    assert {one.dtype for one in found} == {torch.bfloat16}
    for one, other in zip(found, gradients(wanted, exact, weight), strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("norm", [RMSNorm(64), LayerNorm(64)])
def test_norms_compute_their_statistics_in_float32(norm):
    hidden = torch.randn(3, 64) * 1e20
    assert norm(hidden.bfloat16()).dtype == torch.bfloat16
    assert norm(hidden.bfloat16() / 1e10).isfinite().all()


@pytest.mark.parametrize("reach", [1, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_short_convolution_with_its_gradient(reach, length):
    convolution, hidden = ShortConvolution(6, reach), torch.randn(2, length, 6, requires_grad=True)
    assert torch.equal(convolution(hidden), hidden)
    torch.nn.init.normal_(convolution.weight)
    weight = convolution.weight
    padded = F.pad(hidden.transpose(1, 2), (reach - 1, 0))
    obvious = F.conv1d(padded, weight.t().unsqueeze(1), groups=6).transpose(1, 2)
    torch.testing.assert_close(convolution(hidden), obvious)
    torch.testing.assert_close(gradients(convolution(hidden), hidden, weight), gradients(obvious, hidden, weight))


def test_rotation_turns_each_pair_by_its_angle():
    heads = torch.randn(1, 7, 2, 8, dtype=torch.float64)
    table = rotary_table(3, 7, 8, 100.0, torch.float64, heads.device)
    angles = torch.outer(torch.arange(3, 10), 100.0 ** (-torch.arange(4) / 4)).unsqueeze(1)
    pairs = torch.complex(heads[..., :4], heads[..., 4:]) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(rotate(heads, table), torch.cat([pairs.real, pairs.imag], -1), rtol=1e-6, atol=1e-6)


def test_sinusoids_are_their_formula():
    table = sinusoids(60, 9, 6, torch.float64, torch.device("cpu"))
    for place, row in enumerate(table, start=60):
        angles = [place / 10_000 ** (2 * pair / 6) for pair in range(3)]
        wanted = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        torch.testing.assert_close(row, torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize(("buckets", "reach"), [(32, 128), (8, 12), (10, 50)])
def test_distances_fall_into_buckets_that_widen(buckets, reach):
    exact = buckets // 2

    def bucket(back):
        grown = math.log(max(back, exact) / exact) / math.log(reach / exact) * (buckets - exact)
        return back if back < exact else min(exact + int(grown), buckets - 1)

    distances = torch.arange(-300, 300)
    causal = distance_buckets(distances, buckets, reach, both_ways=False)
    assert causal.tolist() == [bucket(max(-distance, 0)) for distance in distances.tolist()]
    both = distance_buckets(distances, 2 * buckets, reach, both_ways=True)
    assert both.tolist() == [bucket(abs(distance)) + buckets * (distance > 0) for distance in distances.tolist()]


def test_relative_positions_go_on_where_the_cache_ends():
    layer = RelativePositions(heads=3, buckets=8, reach=12, both_ways=False)
    torch.nn.init.normal_(layer.weight)
    whole = layer(0, 20)
    torch.testing.assert_close(layer(17, 3), whole[:, 17:])
    assert torch.equal(whole[:, 19, 19], layer.weight[0])
    assert torch.equal(whole[:, 19, 0], layer.weight[7])


def test_bigrams_are_exact_where_there_is_room():
    table = BigramTable(vocabulary=9, buckets=90, width=4)
    tokens = torch.cartesian_prod(torch.arange(10), torch.arange(9))
    rows = table.rows(tokens[:, 0], tokens[:, 1])
    assert len(rows.unique()) == 90


def test_bigrams_spread_over_a_table_too_small():
    table = BigramTable(vocabulary=512, buckets=4_096, width=1)
    tokens = torch.cartesian_prod(torch.arange(512), torch.arange(512))
    rows = table.rows(tokens[:, 0], tokens[:, 1])
    counts = rows.bincount(minlength=4_096)
    assert counts.max() < 4 * counts.float().mean()


@pytest.mark.parametrize("activation", ["swiglu", "geglu_tanh", "gelu", "gelu_tanh", "silu", "relu2"])
def test_feed_forward_is_its_formula(activation):
    layer, hidden = FeedForward(8, 16, activation, bias=True), torch.randn(2, 3, 8)
    up = hidden @ layer.up.weight.t() + layer.up.bias
    gate = up if layer.gate is None else hidden @ layer.gate.weight.t() + layer.gate.bias
    if activation == "swiglu":
        bent = gate * torch.sigmoid(gate) * up
    elif activation == "geglu_tanh":
        bent = gate * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (gate + 0.044715 * gate**3))) / 2 * up
    elif activation == "silu":
        bent = up * torch.sigmoid(up)
    elif activation == "relu2":
        bent = up.clamp(min=0) ** 2
    elif activation == "gelu":
        bent = up * (1 + torch.erf(up / 2**0.5)) / 2
    else:
        bent = up * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (up + 0.044715 * up**3))) / 2
    torch.testing.assert_close(layer(hidden), bent @ layer.down.weight.t() + layer.down.bias)


def test_seeded_numbers_have_their_deviation():
    numbers = torch.empty(600, 100)
    fill_normal(numbers, 0.5, seed=1, name="x")
    assert abs(numbers.std() - 0.5) < 0.01
    assert abs(numbers.mean()) < 0.01
