"""A training that would not fit is refused before it begins."""

import pytest

from malmoi.core.errors import UserError
from malmoi.models.gpt_config import GPTConfig
from malmoi.parallel.layout import Layout, laid_out
from malmoi.pipeline.planning import room
from malmoi.train.settings import TrainerSettings

CONFIG = GPTConfig(vocabulary=4_096, context=128, width=256, layers=4, heads=4, tied=True)
SETTINGS = TrainerSettings(steps=1, slots=4, optimizer="adamw", precision="float32")


def has(monkeypatch, gigabytes):
    monkeypatch.setattr(room, "_memory", lambda: int(gigabytes * 1e9))


def test_what_fits_passes(monkeypatch):
    has(monkeypatch, 4)
    with laid_out(Layout(data=2)):
        room.check_room(CONFIG, SETTINGS, rows=4, length=128)


def test_what_does_not_fit_is_refused_with_the_nearest_layout_that_does(monkeypatch):
    with laid_out(Layout(data=2)):
        has(monkeypatch, 0.115)
        with pytest.raises(
            UserError, match=r"data 2 needs 0\.\d GB in a process.*The nearest that fits: (shard|tensor)"
        ):
            room.check_room(CONFIG, SETTINGS, rows=4, length=128)


def test_where_nothing_fits_it_says_what_else_to_do(monkeypatch):
    has(monkeypatch, 0.001)
    with laid_out(Layout(shard=2)), pytest.raises(UserError, match="trainer.recompute=blocks"):
        room.check_room(CONFIG, SETTINGS, rows=4, length=128)


def test_pipelines_that_would_want_more_micro_batches_are_passed_over(monkeypatch):
    has(monkeypatch, 0.001)
    single = SETTINGS.model_copy(update={"slots": 1})
    with laid_out(Layout(data=2)), pytest.raises(UserError, match="Take more processes"):
        room.check_room(CONFIG, single, rows=4, length=128)


def test_one_process_is_not_asked(monkeypatch):
    has(monkeypatch, 0)
    room.check_room(CONFIG, SETTINGS, rows=4, length=128)


def test_a_layout_that_does_not_divide_the_model_is_left_to_the_trainer(monkeypatch):
    has(monkeypatch, 0)
    with laid_out(Layout(tensor=3)):
        room.check_room(CONFIG, SETTINGS, rows=4, length=128)
