"""The largest micro-batch that fits, with the rows of a step as they were."""

import psutil
import pytest

from malmoi.core.errors import UserError
from malmoi.models.gpt_config import GPTConfig
from malmoi.pipeline.pretraining.fit import available_memory, fitting_rows, measured_step
from malmoi.train.settings import TrainerSettings


def test_the_largest_divisor_that_fits_is_taken_and_what_would_take_more_is_not_tried():
    tried = []

    def measure(rows):
        tried.append(rows)
        return 100 + 10 * rows

    assert fitting_rows(measure, 24, 165) == 6
    assert tried == [1, 2, 3, 4, 6]


def test_what_takes_more_than_it_seemed_is_tried_and_not_taken():
    assert fitting_rows(lambda rows: rows**3, 8, 63) == 2


def test_what_is_available_is_less_than_the_machine_has():
    assert 0 < available_memory() < psutil.virtual_memory().total / 2**30


def test_when_not_even_one_row_fits_the_ways_out_are_said():
    with pytest.raises(UserError, match=r"One row takes 3.00 GiB, and there are 2.*recompute=blocks"):
        fitting_rows(lambda rows: 3 << 30, 8, 2 << 30)


def test_a_step_is_measured():
    config = GPTConfig(vocabulary=50, context=64, width=32, layers=2, heads=2)
    measure = measured_step(config, 64, TrainerSettings(steps=1, precision="float32", recompute="blocks"))
    assert measure(2) > 50 << 20
