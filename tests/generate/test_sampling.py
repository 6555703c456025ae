"""Each filter against a slow one in plain Python."""

import math
from collections import Counter

import pytest
import torch

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.generate.sampling import SamplingSettings, candidates, next_token, penalize, random_source

PLAIN = SamplingSettings(temperature=1, top_p=1)


def logits(size: int = 50, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def slow_candidates(values: list[float], settings: SamplingSettings) -> dict[int, float]:
    """Temperature, top-k, top-p, min-p, one after the other, as their papers tell it."""
    weights = {token: math.exp((value - max(values)) / settings.temperature) for token, value in enumerate(values)}
    order = sorted(weights, key=lambda token: -weights[token])
    order = order[: settings.top_k] if settings.top_k else order
    total = sum(weights[token] for token in order)
    nucleus, reached = [], 0.0
    for token in order:
        nucleus.append(token)
        reached += weights[token] / total
        if reached >= settings.top_p < 1:
            break
    kept = [token for token in nucleus if weights[token] >= settings.min_p * weights[order[0]]]
    total = sum(weights[token] for token in kept)
    return {token: weights[token] / total for token in kept}


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        PLAIN.model_copy(update={"temperature": 0.3}),
        PLAIN.model_copy(update={"top_k": 1}),
        PLAIN.model_copy(update={"top_k": 7}),
        PLAIN.model_copy(update={"top_k": 1000}),
        PLAIN.model_copy(update={"top_p": 0.5}),
        PLAIN.model_copy(update={"top_p": 1e-6}),
        PLAIN.model_copy(update={"min_p": 0.1}),
        PLAIN.model_copy(update={"min_p": 1.0}),
        SamplingSettings(temperature=1.7, top_k=20, top_p=0.8, min_p=0.05),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_candidates_are_those_of_the_slow_way(settings, seed):
    values = logits(seed=seed)
    probabilities, tokens = candidates(values, settings)
    found = dict(zip(tokens.tolist(), (probabilities / probabilities.sum()).tolist(), strict=True))
    assert found == pytest.approx(slow_candidates(values.tolist(), settings), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("settings", [SamplingSettings(), SamplingSettings(temperature=3, top_p=0.99, min_p=0.001)])
def test_nothing_that_counts_is_lost_before_sorting(settings):
    values = logits(5000)
    probabilities, tokens = candidates(values, settings)
    assert tokens.tolist() == list(slow_candidates(values.tolist(), settings))
    assert probabilities.diff().le(0).all()


def test_penalty_pushes_seen_tokens_down_whatever_their_sign():
    values = torch.tensor([2.0, -2.0, 2.0, -2.0])
    assert penalize(values, [0, 1, 1], 2.0).tolist() == [1.0, -4.0, 2.0, -2.0]
    assert values.tolist() == [2.0, -2.0, 2.0, -2.0]


def test_temperature_zero_is_greedy_and_needs_no_luck():
    settings = SamplingSettings(temperature=0, top_k=5)
    for seed in range(20):
        values = logits(seed=seed)
        assert next_token(values, settings, random_source(seed), []) == int(values.argmax())


@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 1e-46])
def test_a_tiny_temperature_does_not_overflow(temperature):
    values = logits()
    assert next_token(values, SamplingSettings(temperature=temperature), random_source(0), []) == int(values.argmax())


@pytest.mark.parametrize("penalty", [0.01, 100])
def test_the_strongest_penalties_leave_numbers(penalty):
    values = 1e4 * logits()
    seen = penalize(values, list(range(50)), penalty)
    assert seen.isfinite().all()
    assert next_token(values, SamplingSettings(repetition_penalty=penalty), random_source(0), [3]) in range(50)


def test_choices_follow_the_probabilities():
    values, generator = torch.tensor([0.0, math.log(2.0), math.log(5.0)]), random_source(3)
    counts = Counter(next_token(values, PLAIN, generator, []) for _ in range(8000))
    assert [counts[token] / 8000 for token in range(3)] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.02)


def test_a_seed_repeats_the_choices_and_leaves_the_global_state_alone():
    def draw(seed):
        generator = random_source(seed)
        return [next_token(logits(), PLAIN, generator, []) for _ in range(20)]

    before = torch.random.get_rng_state()
    assert draw(7) == draw(7) != draw(8)
    assert torch.equal(before, torch.random.get_rng_state())


def test_logits_that_are_not_numbers_are_refused():
    for bad in (math.nan, math.inf):
        with pytest.raises(UserError, match="not a number"):
            next_token(torch.tensor([0.0, bad]), PLAIN, random_source(0), [])


@pytest.mark.parametrize(
    "values", [{"temperature": -1}, {"temperature": math.nan}, {"top_p": 0}, {"top_p": 1.1}, {"top_k": -1},
               {"min_p": 2}, {"repetition_penalty": 1e-40}, {"repetition_penalty": 1e40}, {"maximum_tokens": 0}, {"stop": ("",)}, {"seed": 2**63}]
)  # fmt: skip
def test_settings_out_of_range_are_named(values):
    with pytest.raises(UserError, match=next(iter(values))):
        parse_settings(SamplingSettings, values, "the options")
