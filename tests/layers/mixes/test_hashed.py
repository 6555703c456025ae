"""Hashed attention: softmax over the union of what its rounds see, and nearer to full attention the more there are."""

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.layers.mixes.hashed import Hashed, over_union, shared_keys
from malmoi.layers.mixes.heads import Heads
from malmoi.layers.mixes.registry import attend
from malmoi.layers.pattern import FULL
from malmoi.layers.patterns import CAUSAL, Documents

patterns = pytest.mark.parametrize("pattern", [CAUSAL, FULL, CAUSAL & Documents()], ids=str)


def heads_of(pattern, length, query=None):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, length, 8, generator=generator) if query is None else query
    value = torch.randn(2, 3, length, 8, generator=generator).requires_grad_()
    query.requires_grad_()
    documents = torch.arange(length).expand(2, -1) // 15
    return Heads(query, shared_keys(query), value, pattern, documents=documents)


def full_attention(heads):
    """To every key that the pattern allows; to the token's own only where there is no other."""
    allowed = heads.pattern.dense(heads.length, heads.seen, documents=heads.documents)
    allowed = allowed if allowed.dim() == 2 else allowed[:, None]
    own = torch.eye(heads.length, dtype=torch.bool)
    scores = (heads.query @ heads.key.transpose(-1, -2)) * heads.query.shape[-1] ** -0.5
    scores = scores.masked_fill(~allowed, -torch.inf).masked_fill(own, -1e5)
    return scores.softmax(-1) @ heads.value


def gradients(result, heads):
    direction = torch.linspace(-1, 1, result.numel()).view_as(result)
    return torch.autograd.grad((result * direction).sum(), (heads.query, heads.value), retain_graph=True)


@patterns
@pytest.mark.parametrize("length", [1, 9, 40, 130])
@pytest.mark.parametrize("mix", [Hashed(5, 3, 8), Hashed(4, 2, 64), Hashed(70, 1, 2)], ids=str)
def test_sorted_is_a_mask_of_all_pairs(mix, length, pattern):
    heads = heads_of(pattern, length)
    got, wanted = attend(heads, mix), over_union(heads, mix, mix.hash(heads))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    for one, other in zip(gradients(got, heads), gradients(wanted, heads), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@patterns
@pytest.mark.parametrize("rounds", [1, 3])
def test_one_bucket_is_full_attention_with_shared_keys(pattern, rounds):
    heads = heads_of(pattern, 40)
    torch.testing.assert_close(attend(heads, Hashed(40, rounds, buckets=1)), full_attention(heads), rtol=0, atol=1e-5)


def test_more_rounds_are_nearer_to_full_attention():
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(1, 1, 8, 16, generator=generator)[:, :, torch.arange(256) % 8] * 3
    query = centres.expand(2, 3, -1, -1) + torch.randn(2, 3, 256, 16, generator=generator)
    heads = Heads(query, shared_keys(query), torch.randn(2, 3, 256, 16, generator=generator), CAUSAL)
    wanted = full_attention(heads)
    errors = [float((attend(heads, Hashed(256, rounds, buckets=32)) - wanted).norm()) for rounds in (1, 2, 4, 8, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_training_hashes_anew_and_evaluation_does_not():
    heads, mix = heads_of(CAUSAL, 60), Hashed(4, 2, 16)
    assert torch.equal(mix.hash(heads), mix.hash(heads))
    training = Heads(heads.query, heads.key, heads.value, CAUSAL, training=True)
    assert not torch.equal(mix.hash(training), mix.hash(training))


def test_buckets_are_filled_evenly():
    query = torch.randn(1, 4, 2048, 64, generator=torch.Generator().manual_seed(0))
    buckets = Hashed(buckets=256, rounds=1).hash(Heads(query, shared_keys(query), query, CAUSAL))
    counts = buckets.flatten().bincount(minlength=256)
    assert len(counts) == 256
    assert counts.max() < 8 * counts.float().mean()


@pytest.mark.parametrize("numbers", [{"buckets": 12}, {"buckets": 0}, {"reach": 0}, {"rounds": 0}], ids=str)
def test_numbers_that_hash_nothing_are_refused(numbers):
    with pytest.raises(UserError, match="no power of two|at least 1"):
        Hashed(**numbers)
