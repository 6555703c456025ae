"""A training says what is wrong with it, once, and which setting to change."""

import math

import pytest
import torch

from malmoi.core.files import read_json_lines
from malmoi.train.advice import Advisor
from malmoi.train.settings import TrainerSettings


def advisor(steps=1_000, clip=1.0, keeps_best=False, free=1 << 40):
    return Advisor(TrainerSettings(steps=steps, clip=clip, keep_best=keeps_best), lambda: free)


def said(watching, losses, norm=0.5):
    return [words for step, loss in enumerate(losses, start=1) for words in watching.after_step(step, loss, norm)]


def falling(steps):
    return [5 - 3 * step / steps for step in range(steps)]


def test_a_training_that_goes_well_is_left_alone():
    watching = advisor()
    assert said(watching, falling(1_000)) == []
    assert watching.after_validation(1_000, 2.0, 2.0) == []
    assert watching.before_saving(1 << 20) == []


def test_a_jump_of_the_loss_is_said_once():
    (words,) = said(advisor(), [*[3.0] * 60, 9.0, *[3.0] * 9, *[9.0] * 19])
    assert "Step 75: the loss jumped from about 3.00 to" in words
    assert "lower learning_rate" in words


def test_a_few_hard_batches_are_no_jump():
    noise = torch.distributions.Gamma(2.0, 10.0)
    torch.manual_seed(0)
    assert said(advisor(steps=4_000), noise.sample((2_000,)).tolist()) == []


def test_a_loss_that_does_not_fall_is_said_at_half_of_the_steps():
    (words,) = said(advisor(steps=400), [4.0] * 400)
    assert words.startswith("Step 200: the loss is still at 4.00")
    assert "Raise learning_rate" in words


def test_a_loss_that_jumps_at_the_second_step_and_stays_is_said():
    (words, _) = said(advisor(steps=240), [4.2, *[71.0] * 60, *[174.0] * 179])
    assert words.startswith("Step 11: the loss rose from 4.20 at the first step to about 71.00")
    assert "Lower learning_rate" in words


def test_an_easy_first_batch_is_no_rise():
    noise = torch.distributions.Gamma(2.0, 10.0)
    torch.manual_seed(0)
    assert said(advisor(steps=4_000), [0.02, *noise.sample((2_000,)).tolist()]) == []


@pytest.mark.parametrize("losses", [
    [4 + min(4, step / 10) for step in range(1_000)],
    [4 - abs(2 - abs(step - 500) / 125) if step < 750 else 4 for step in range(1_000)],
    [*[4 - step / 100 for step in range(200)], *[2 + step / 400 for step in range(800)]],
])  # fmt: skip
def test_what_rose_is_not_told_to_learn_faster(losses):
    (words,) = said(advisor(), losses)
    assert "Lower learning_rate" in words


def test_a_step_without_a_finite_loss_silences_nothing():
    (words,) = said(advisor(steps=400), [*[4.0] * 10, math.nan, *[4.0] * 389])
    assert "where it began" in words


def test_a_warm_up_that_is_longer_than_the_training_is_said():
    settings = TrainerSettings(steps=3, warm_up=100)
    (words,) = Advisor(settings, lambda: 1 << 40).before_first_step()
    assert "warm_up=100" in words
    assert advisor().before_first_step() == []


def test_gradients_that_are_always_cut_name_clip():
    (words,) = said(advisor(clip=0.1), falling(200), norm=5.0)
    assert "about 50 times as long as clip=0.1 allows" in words


@pytest.mark.parametrize(("keeps_best", "taken"), [(False, "The last weights"), (True, "The best weights")])
def test_a_held_out_loss_that_rises_is_said_at_the_third_time(keeps_best, taken):
    watching = advisor(keeps_best=keeps_best)
    losses = [2.0, 2.1, 1.9, 2.0, 2.1, 2.2, 2.3]
    found = [watching.after_validation(step, loss, min(losses[: step + 1])) for step, loss in enumerate(losses)]
    assert [len(one) for one in found] == [0, 0, 0, 0, 0, 1, 0]
    assert "to 2.200 from 1.900 at its best" in found[5][0]
    assert taken in found[5][0]


def test_a_held_out_loss_that_goes_up_and_down_above_its_best_says_nothing():
    watching, losses = advisor(), [0.312, 0.344, 0.346, 0.343, 0.345, 0.343]
    assert [watching.after_validation(step, loss, 0.312) for step, loss in enumerate(losses)] == [[]] * len(losses)


def test_a_disk_that_fills_is_said_before_it_is_full():
    (words,) = advisor(free=3 << 30).before_saving(1 << 30)
    assert "3,072.0 MiB are free" in words


def test_a_disk_that_is_nearly_full_is_said_before_the_first_step(make_trainer, monkeypatch, tmp_path):
    monkeypatch.setattr("malmoi.train.trainer.free_bytes", lambda directory: 1 << 20)
    make_trainer(steps=3).run()
    first = next(read_json_lines(tmp_path / "metrics.jsonl"))
    assert first["step"] == 0
    assert "1.0 MiB are free" in first["warning"]


def test_a_training_keeps_what_it_said(make_trainer, tmp_path):
    trainer = make_trainer(steps=60, clip=1e-6, directory=tmp_path)
    trainer.run()
    warnings = [line["warning"] for line in read_json_lines(tmp_path / "metrics.jsonl") if "warning" in line]
    assert len(warnings) == 1
    assert "Raise clip" in warnings[0]
