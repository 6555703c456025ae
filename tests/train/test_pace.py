"""A training that was given minutes takes them, however wrong the first reckoning was."""

import itertools

import pytest
import torch

from malmoi.core.files import read_json_lines
from malmoi.train.pace import TIME_SHARE, Pace, with_steps
from malmoi.train.schedules import factor
from malmoi.train.settings import TrainerSettings
from malmoi.train.state import Progress


def paced(steps, seconds_a_step, minutes=1.0, **fields):
    """Steps that a training has in the end, and the rates' factors that its steps had."""
    pace, done, factors = Pace(TrainerSettings(steps=steps, minutes=minutes, **fields)), Progress(), []
    for step in pace.steps_from(0):
        now = pace.settings
        factors.append(
            factor(step, now.steps, schedule=now.schedule, warm_up=now.warm_up, cool_down=now.cool_down, final=0)
        )
        done.step, done.seconds = step + 1, done.seconds + seconds_a_step
        pace.after_step(done, seconds_a_step, lambda reckon: reckon())
    return done, factors


@pytest.mark.parametrize("planned", [150, 500, 1_200, 1_800])
def test_the_minutes_are_filled_whatever_was_planned(planned):
    done, _ = paced(planned, 0.1)
    assert 60 * TIME_SHARE - 1 < done.seconds < 60


def test_there_are_no_more_steps_than_the_text_is_good_for_however_fast_they_are():
    done, _ = paced(150, 0.1, most_steps=200)
    assert done.step == 200


@pytest.mark.parametrize("planned", [150, 1_200, 50_000])
def test_the_rate_never_jumps_and_ends_at_nothing(planned):
    done, factors = paced(planned, 0.1, warm_up=20)
    reckoned_at_once = [
        factor(step, done.step, schedule="trapezoid", warm_up=20, cool_down=0.5, final=0) for step in range(done.step)
    ]
    assert factors == reckoned_at_once


def test_what_is_done_already_cannot_be_undone():
    """Ten steps are more than the minutes hold."""
    done, _ = paced(10_000, 10)
    assert done.step == 2 * 10


@pytest.mark.parametrize("fields", [{"minutes": None}, {"schedule": "cosine"}, {"cool_down": 1.0}])
def test_without_minutes_or_where_the_schedule_counts_all_steps_they_stay_as_many(fields):
    done, _ = paced(200, 0.1, **fields)
    assert (done.step, done.steps) == (200, 0)


def test_noam_lets_them_change_to_the_end():
    done, _ = paced(5_000, 0.1, schedule="noam", warm_up=100)
    assert 60 * TIME_SHARE - 1 < done.seconds < 60


def test_validations_keep_their_number():
    longer = with_steps(TrainerSettings(steps=100, validate_every=10, checkpoint_every=7), 450)
    assert (longer.steps, longer.validate_every, longer.checkpoint_every) == (450, 45, 7)


def test_a_training_that_goes_on_keeps_the_steps_it_had_reckoned(make_trainer, tmp_path):
    first = make_trainer(steps=30, minutes=0.02).run()
    assert first.steps != 30
    again = make_trainer(steps=30, minutes=0.02)
    assert again.run().steps == again.settings.steps == first.steps
    steps = [record["step"] for record in read_json_lines(tmp_path / "metrics.jsonl") if "loss" in record]
    assert steps == list(range(1, first.steps + 1))


def test_the_weights_are_those_of_a_training_planned_so(make_trainer, tmp_path):
    paced_one = make_trainer(directory=tmp_path / "paced", steps=30, minutes=0.02)
    steps = paced_one.run().steps
    planned = make_trainer(directory=tmp_path / "planned", steps=steps)
    planned.run()
    for one, other in zip(paced_one.model.parameters(), planned.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_training_that_is_often_killed_keeps_its_minutes_too():
    """Steps become three times as slow, and it is begun again every hundred steps."""
    settings, done = TrainerSettings(steps=600, minutes=1.0), Progress()
    while done.step < (done.steps or 600):
        pace = Pace(settings)
        pace.go_on(done)
        for step in itertools.islice(pace.steps_from(done.step), 100):
            seconds = 0.1 if step < 60 else 0.3
            done.step, done.seconds = step + 1, done.seconds + seconds
            pace.after_step(done, seconds, lambda reckon: reckon())
    assert 60 * TIME_SHARE - 1 < done.seconds < 60
