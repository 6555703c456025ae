"""What is shown on the way is spread over it."""

import itertools

import pytest

from malmoi.train.samples import Samples


def sampled(times: int, steps: int) -> list[int]:
    samples = Samples(times, lambda step: None)
    return [step for step in range(steps + 1) if samples.due(step, steps)]


@pytest.mark.parametrize("steps", [5, 9, 20, 910, 1_257, 1_475])
def test_samples_are_spread_over_the_training(steps):
    gaps = [after - before for before, after in itertools.pairwise(sampled(6, steps))]
    assert len(gaps) == 5
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(("times", "steps", "expected"), [
    (0, 9, []), (1, 9, [0, 9]), (2, 9, [0, 9]), (6, 2, [0, 1, 2]),
])  # fmt: skip
def test_few_samples_or_steps(times, steps, expected):
    assert sampled(times, steps) == expected
