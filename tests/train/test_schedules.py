"""The learning rate is a pure function of the step."""

import pytest

from malmoi.train.schedules import factor


def trapezoid(step: int, **changes) -> float:
    return factor(step, 100, **({"schedule": "trapezoid", "warm_up": 10, "cool_down": 0.4, "final": 0.0} | changes))


def cosine(step: int, **changes) -> float:
    return factor(step, 100, **({"schedule": "cosine", "warm_up": 10, "cool_down": 0.0, "final": 0.1} | changes))


@pytest.mark.parametrize(
    ("step", "value"), [(0, 0.1), (4, 0.5), (9, 1.0), (59, 1.0), (60, 1.0), (80, 0.5), (99, 0.025)]
)
def test_trapezoid_rises_stays_and_falls(step, value):
    assert trapezoid(step) == pytest.approx(value)


@pytest.mark.parametrize(("step", "value"), [(0, 0.1), (10, 1.0), (55, 0.55), (99, 0.1003)])
def test_cosine_falls_to_its_final_value(step, value):
    assert cosine(step) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("schedule", [trapezoid, cosine])
def test_it_rises_and_then_never_rises_again(schedule):
    values = [schedule(step) for step in range(100)]
    assert max(values) <= 1
    assert values[10:] == sorted(values[10:], reverse=True)
    assert all(value > 0 for value in values)


def test_noam_rises_and_falls_with_the_inverse_square_root():
    def noam(step):
        return factor(step, 1000, schedule="noam", warm_up=40, cool_down=0.5, final=0.0)

    # Section 5.3 of the paper, divided by its peak.
    paper = [min((step + 1) ** -0.5, (step + 1) * 40**-1.5) * 40**0.5 for step in range(1000)]
    assert [noam(step) for step in range(1000)] == pytest.approx(paper)


def test_without_warm_up_or_cool_down_it_is_constant():
    assert {trapezoid(step, warm_up=0, cool_down=0.0) for step in range(100)} == {1.0}


def test_a_run_of_one_step_trains():
    assert factor(0, 1, schedule="trapezoid", warm_up=0, cool_down=1.0, final=0.0) == 1
    assert factor(0, 1, schedule="cosine", warm_up=1, cool_down=0.0, final=0.0) == 1
