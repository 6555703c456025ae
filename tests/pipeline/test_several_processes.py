"""A stage that several processes run together: the first one alone prepares and finishes."""

import time
from pathlib import Path

from malmoi.core.config import Settings
from malmoi.core.files import read_json, write_json
from malmoi.core.processes import is_first
from malmoi.models.registry import build_model
from malmoi.parallel.layout import Layout
from malmoi.parallel.spawn import run_on
from malmoi.pipeline.recipe import Step
from malmoi.pipeline.runner import run_step
from malmoi.pipeline.stage import Stage
from malmoi.pipeline.verify_parallel import MODELS, Texts
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

BEHIND = 0.2
"""Seconds that the first process is behind the others where they could overtake it."""


def run_together(directory: Path, layout: Layout) -> list[str]:
    """How far this process came in a stage that trains twice and reads what it wrote in between and at the end."""
    came: list[str] = []

    def run(_settings, place):
        config, objective = MODELS["gpt"]
        settings = TrainerSettings(steps=1, slots=2, precision="float32")
        for number in ("첫째", "둘째"):
            if is_first():
                time.sleep(BEHIND)
            write_json(place / f"{number}.json", number)
            assert read_json(place / f"{number}.json") == number
            trainer = Trainer(build_model(config, seed=0), objective, Texts("gpt"), settings, place / number)
            came.append(number)
            trainer.run()
        assert trainer.validate()["validation_loss"] > 0
        (place / "model").mkdir()
        came.append("end")
        return {}

    run_step(Step("pretrain", "둘", Stage(Settings, run), Settings(), layout), directory / "둘", {}, "")
    return came


def test_the_others_train_with_the_first_process_and_leave_the_rest_to_it(tmp_path):
    for layout in (Layout(data=2), Layout(shard=2)):
        first, other = run_on(2, run_together, tmp_path / str(layout), layout)
        assert first == ["첫째", "둘째", "end"]
        assert other == ["첫째", "둘째"]
