import math

import numpy as np
import pytest

from malmoi.evaluate.interval import bootstrap, proportion


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_intervals_of_wilson_as_they_are_printed_elsewhere(right, total, low, high):
    found = proportion(right, total)
    assert (found.value, found.low, found.high) == pytest.approx((right / total, low, high), abs=1e-4)


def test_nothing_measured_is_not_a_number():
    assert math.isnan(proportion(0, 0).value)
    assert math.isnan(bootstrap(np.zeros((0, 2)), lambda sums: sums[:, 0]).value)


def test_the_bootstrap_of_a_share_is_near_wilsons_and_the_same_at_every_run():
    rights = np.repeat([[1.0, 1.0], [0.0, 1.0]], [60, 40], axis=0)
    found = bootstrap(rights, lambda sums: sums[:, 0] / sums[:, 1], seed=3)
    wilson = proportion(60, 100)
    assert (found.value, found.low, found.high) == pytest.approx((0.6, wilson.low, wilson.high), abs=0.02)
    assert found == bootstrap(rights, lambda sums: sums[:, 0] / sums[:, 1], seed=3)
