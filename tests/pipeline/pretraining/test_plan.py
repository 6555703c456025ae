"""From minutes to numbers: the dial's laws, and what follows from a text and a vocabulary."""

import math
from itertools import pairwise
from pathlib import Path

import pytest

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model, count_parameters
from malmoi.pipeline.pretraining import dial, plan
from malmoi.pipeline.pretraining.dial import predicted_loss
from malmoi.pipeline.pretraining.estimate import estimate
from malmoi.pipeline.pretraining.plan import derive_plan
from malmoi.pipeline.pretraining.settings import PretrainSettings
from malmoi.pipeline.pretraining.show import print_plan


@pytest.fixture(autouse=True)
def _known_speed(monkeypatch):
    """1,000 tokens a second, whatever the machine."""
    monkeypatch.setattr(plan, "tokens_per_second", lambda *arguments: 1_000.0)


def derive(vocabulary=4_096, text=10_000_000, initial=None, **changes):
    fields = {"model": {"layers": 2, "width": 128, "heads": 2}, "trainer": {"precision": "float32"}} | changes
    settings = PretrainSettings(corpus=Path("corpus"), tokenizer=Path("tokenizer"), **fields)
    return derive_plan(settings, vocabulary, text, initial)


def test_minutes_become_steps():
    made = derive(minutes=10)
    assert made["tokens_per_step"] == 4_096
    assert made["trainer"]["steps"] == int(600 * 0.93 * 1_000 / 4_096)
    assert derive(tokens=10_000)["trainer"]["steps"] == 3


def test_what_is_measured_is_what_will_be_trained(monkeypatch):
    measured = []
    monkeypatch.setattr(dial, "tokens_per_second", lambda config, *_, **__: measured.append(config) or 1_000.0)
    made = derive(model={"layers": 3, "width": 64, "activation": "gelu"})
    assert [config.model_dump() for config in measured] == [made["model"]]
    assert (made["model"]["layers"], made["model"]["width"], made["model"]["activation"]) == (3, 64, "gelu")


def test_it_is_measured_as_it_will_be_trained(monkeypatch):
    measured = []
    monkeypatch.setattr(
        dial, "tokens_per_second", lambda *arguments: measured.append(arguments[-1]) or 1e5 / arguments[0].layers
    )
    settings = {"optimizer": "adamw", "recompute": "blocks", "slots": 2}
    derive(model={}, trainer=settings)
    assert {tuple(getattr(trainer, name) for name in settings) for trainer in measured} == {tuple(settings.values())}


def test_one_size_is_the_lowest_however_near_another_is(monkeypatch, capsys):
    losses = iter((3.0, 2.00004, 2.00001, 9.0))
    monkeypatch.setattr(dial, "tokens_per_second", lambda *_: 1e5)
    monkeypatch.setattr(dial, "predicted_loss", lambda *_: next(losses))
    made = derive(model={})
    print_plan(made)
    assert made["model"]["layers"] == dial.SIZES[2][0]
    assert capsys.readouterr().out.count("lowest") == 1


def test_a_given_width_leaves_the_depth_to_the_measurement(monkeypatch):
    monkeypatch.setattr(dial, "tokens_per_second", lambda config, *_, **__: 1e5 / config.layers)
    made = derive(model={"width": 64})
    assert [trial["layers"] for trial in made["trials"]][:2] == [2, 3]
    assert {trial["width"] for trial in made["trials"]} == {64}


@pytest.mark.parametrize("long", [{"minutes": 600}, {"steps": 9_999}, {"tokens": 1 << 30}])
def test_however_long_is_said_states_are_saved_by_the_clock(long, capsys):
    made = derive(**long)
    print_plan(made)
    assert made["trainer"]["checkpoint_every"] == 0
    assert "saved about every 45 s" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("steps", [1, 11, 12, 13, 23, 240, 250])
def test_there_are_twelve_validations_at_most(steps):
    every = derive(steps=steps)["trainer"]["validate_every"]
    assert math.ceil(steps / every) <= 12


def test_text_that_is_read_too_often_is_said(capsys):
    print_plan(derive(text=1_000_000, tokens=4_300_000))
    assert "times" not in capsys.readouterr().out
    print_plan(derive(text=1_000_000, tokens=20_000_000))
    said = " ".join(capsys.readouterr().out.split())
    assert "The text is read 20 times" in said
    assert "most_epochs=4" in said


def test_minutes_hold_no_more_steps_than_the_text_may_be_read(capsys):
    made = derive(text=100_000, minutes=10, most_epochs=2)
    assert made["trainer"]["steps"] == math.ceil(2 * 100_000 / 4_096)
    print_plan(made)
    assert "times" not in capsys.readouterr().out


@pytest.mark.parametrize(("text", "readings"), [(10_000_000, 4), (1_000_000, 3)])
def test_where_the_size_is_chosen_here_the_text_is_not_read_in_vain(text, readings, monkeypatch, capsys):
    monkeypatch.setattr(dial, "tokens_per_second", lambda *arguments: 100_000.0)
    made = derive(text=text, minutes=600, model={"width": 256})
    assert made["trainer"]["steps"] == made["trainer"]["most_steps"] == math.ceil(readings * text / 4_096)
    print_plan(made)
    assert f"more than {readings} readings of the text" in " ".join(capsys.readouterr().out.split())


def test_more_readings_and_shorter_trainings_are_as_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(dial, "tokens_per_second", lambda *arguments: 1_000.0)
    assert derive(text=1_000_000, minutes=600, model={}, most_epochs=8)["trainer"]["steps"] == math.ceil(8e6 / 4_096)
    assert derive(text=1_000_000, minutes=5, model={})["trainer"]["steps"] == int(300 * 0.93 * 1_000 / 4_096)


def test_a_tiny_text_is_read_in_a_number_of_steps_all_the_same(monkeypatch):
    monkeypatch.setattr(dial, "tokens_per_second", lambda *arguments: 10_000.0)
    made = derive(text=5_000, minutes=5, model={})["trainer"]
    assert (made["steps"], made["keep_best"]) == (60, True)


@pytest.mark.parametrize("asked", [{"steps": 50}, {"tokens": 204_800}])
def test_steps_that_would_read_the_text_too_often_are_refused(asked):
    with pytest.raises(UserError, match=r"50 steps of 4,096 tokens .* most_epochs=2(.|\n)*steps=49 or less"):
        derive(text=100_000, most_epochs=2, **asked)


def test_rows_are_no_longer_than_the_model_reads():
    made = derive(context=64, model={"layers": 2, "width": 128, "heads": 2, "context": 32})
    assert (made["context"], made["tokens_per_step"]) == (32, 1_024)


def test_a_large_vocabulary_is_accumulated():
    made = derive(vocabulary=50_257)
    assert (made["rows"], made["trainer"]["slots"]) == (5, 4)
    assert derive(vocabulary=50_257, rows=3)["trainer"]["slots"] == 1


def test_muon_only_where_its_iteration_is_the_smaller_part():
    assert derive()["trainer"]["optimizer"] == "muon"
    wide = derive(model={"layers": 2, "width": 1_024, "heads": 16})["trainer"]
    assert wide["optimizer"] == "adamw"
    assert wide["learning_rate"] == pytest.approx(0.5 / 1_024)
    small_steps = derive(rows=2)["trainer"]
    assert small_steps["optimizer"] == "adamw"


def test_embeddings_have_a_rate_of_their_own_where_the_head_is_not_tied():
    untied = derive(model={"layers": 2, "width": 128, "heads": 2, "tied": False})["trainer"]
    assert (untied["embedding_learning_rate"], untied["head_learning_rate"]) == (0.1, 0.01)
    assert derive()["trainer"]["embedding_learning_rate"] is None


def test_text_read_many_times_keeps_the_best_weights():
    assert not derive()["trainer"]["keep_best"]
    assert derive(text=10_000)["trainer"]["keep_best"]


def test_what_is_set_is_never_derived():
    given = {"precision": "float32", "optimizer": "adamw", "learning_rate": 0.5, "slots": 3, "keep_best": True}
    trainer = derive(trainer=given, rows=7, steps=11)["trainer"]
    assert {key: trainer[key] for key in given} == given
    assert trainer["steps"] == 11


def test_more_text_more_parameters_and_more_tokens_predict_a_lower_loss():
    loss = predicted_loss(10_000_000, 1e8, 10**9)
    assert predicted_loss(20_000_000, 1e8, 10**9) < loss
    assert predicted_loss(10_000_000, 2e8, 10**9) < loss
    assert predicted_loss(10_000_000, 1e8, 10**7) > loss


def test_four_readings_of_a_larger_model_beat_eight_of_a_small_one():
    assert predicted_loss(2_901_696, 5.3e6, 1_288_166) < predicted_loss(1_475_456, 10.7e6, 1_288_166)


def test_repeated_text_is_worth_less_and_less():
    losses = [predicted_loss(10**7, epochs * 1e6, 10**6) for epochs in (1, 4, 16, 64, 256)]
    gains = [before - after for before, after in pairwise(losses)]
    assert gains == sorted(gains, reverse=True)
    assert 0 < gains[-1] < 0.02 * gains[0]


def test_a_dry_run_tells_time_and_memory_of_a_given_model_before_there_is_a_tokenizer(tmp_path):
    settings = PretrainSettings(corpus=tmp_path, tokenizer=tmp_path, steps=80, rows=2, model={"preset": "gpt2"})
    told = estimate(settings)
    assert told.seconds > 0
    assert 16 * 124_000_000 < told.memory < 4 << 30
    assert "40,960 tokens" in told.lines[0]


def test_a_dry_run_knows_the_size_of_the_checkpoint_to_go_on_from(tmp_path, tokenizer):
    config = GPTConfig(vocabulary=tokenizer.size, context=32, width=32, layers=1, heads=2)
    save_checkpoint(tmp_path / "model", build_model(config, 0), tokenizer, "")
    told = estimate(PretrainSettings(corpus=tmp_path, tokenizer=tmp_path, initial=tmp_path / "model", steps=3, rows=2))
    assert f"{count_parameters(config):,} parameters, 192 tokens" in told.lines[0]


def test_a_dry_run_gives_the_minutes_as_they_are_set(tmp_path):
    settings = PretrainSettings(corpus=tmp_path, tokenizer=tmp_path, minutes=7)
    assert estimate(settings).seconds == 420
