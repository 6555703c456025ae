"""The law that losses follow: found again from points that follow it, and near it from points that do so roughly."""

import random

import pytest

from malmoi.core.errors import UserError
from malmoi.pipeline.scaling_law import Law, Point, by_operations_alone, fit, predictions_without_each

CHINCHILLA = Law(1.69, 406.4, 0.34, 410.7, 0.28, 0.0)
SIZES, TOKENS = (12_000, 50_000, 220_000, 330_000), (65_000, 131_000, 262_000)


def ladder(law, noise=0.0):
    chance = random.Random(0)
    return [Point(n, d, law.loss(n, d) * (1 + chance.gauss(0, noise))) for n in SIZES for d in TOKENS]


def test_a_law_is_found_again_and_tells_what_lies_beyond():
    law = fit(ladder(CHINCHILLA))
    assert law.error < 1e-3
    assert law.loss(1e6, 1e6) == pytest.approx(CHINCHILLA.loss(1e6, 1e6), rel=5e-3)


def test_noise_of_half_a_percent_moves_the_next_size_by_little():
    points = ladder(CHINCHILLA, 0.005)
    assert fit(points).loss(800_000, 524_000) == pytest.approx(CHINCHILLA.loss(800_000, 524_000), rel=0.03)
    without = predictions_without_each(points, 800_000, 524_000)
    assert min(without) < CHINCHILLA.loss(800_000, 524_000) * 1.03
    assert max(without) / min(without) < 1.1


def test_no_term_is_negative_where_larger_models_are_worse():
    law = fit([Point(n, d, 3 + n / 1e6 + 100 / d**0.3) for n in SIZES for d in TOKENS])
    assert min(law.floor, law.parameter_scale, law.token_scale) >= 0
    assert law.loss(1e6, 1e6) > 0


def test_the_control_is_a_straight_line_between_logarithms():
    points = [Point(n, d, 20 * (n * d) ** -0.1) for n in SIZES for d in TOKENS]
    assert by_operations_alone(points, 800_000, 524_000) == pytest.approx(20 * (800_000 * 524_000) ** -0.1)


def test_too_few_trainings_tell_no_law():
    with pytest.raises(UserError, match="3 trainings of 1 sizes"):
        fit([Point(1000, tokens, 3.0) for tokens in TOKENS])
