"""A recipe whose training is a formula: over in a moment, with held-out losses on the way."""

import math
from collections.abc import Callable

import pytest

from malmoi.core.config import Settings
from malmoi.pipeline import recipe as recipe_module
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.stage import Stage, StageInput
from malmoi.train.metrics import Metrics
from malmoi.train.settings import TrainerFields
from malmoi.train.update import Diverged
from malmoi.train.watch import Watched, opened

TEXT = """about: 말모이
stages:
- {stage: corpus, words: 여우와 곰}
- {stage: pretrain, corpus: corpus, rows: 8, trainer: {learning_rate: 0.001}}
- {stage: evaluate, checkpoint: pretrain}
- {stage: report, language: ko, words: 끝}
"""
PARTS = 12


class CorpusSettings(Settings):
    words: str = ""


class FormulaSettings(Settings):
    corpus: StageInput
    rows: int = 8
    minutes: float | None = None
    trainer: TrainerFields = {}


class EvaluateSettings(Settings):
    checkpoint: StageInput
    words: str = ""


class ReportSettings(Settings):
    words: str = ""
    language: str = "en"


@pytest.fixture
def ran() -> list[str]:
    """The directories of the stages that ran."""
    return []


@pytest.fixture
def disturb() -> dict[str, Callable]:
    """`disturb["step"]` is called with the directory and the step of every validation, `disturb["loss"]` with its loss."""
    return {"step": lambda directory, step: None, "loss": lambda loss: loss}


@pytest.fixture
def recipe(monkeypatch, tmp_path, ran, disturb):
    """The recipe; least loss at a learning rate of 0.01 and 16 rows, infinite above 0.5."""

    def write(settings, directory):
        ran.append(directory.name)
        (directory / "words.txt").write_text(settings.words)
        return {"length": len(settings.words), "note": "x"}

    def train(settings, directory):
        ran.append("/".join(directory.parts[-2:]))
        rate = settings.trainer["learning_rate"]
        if rate > 0.5:
            raise Diverged("The gradient was not finite.")
        (directory / "model").mkdir(exist_ok=True)
        (directory / "model" / "weights").write_text(str(rate))
        loss = 3 + (rate - 0.01) ** 2 * 1e4 + abs(settings.rows - 16) / 16
        with opened(Watched(directory, lambda: {"steps": PARTS}, 0)) as listeners:
            metrics = Metrics(directory, 0, listeners)
            for step in range(1, PARTS + 1):
                disturb["step"](directory, step)
                metrics.write(step, validation_loss=disturb["loss"](loss + 1 / step))
        ended = disturb["loss"](loss)
        return {"validation_loss": ended if math.isfinite(ended) else None, "rate": rate}

    def evaluate(settings, directory):
        ran.append("evaluate")
        return {"bits_per_byte": float((settings.checkpoint / "model" / "weights").read_text()) * 2}

    stages = {
        "corpus": Stage(CorpusSettings, write),
        "pretrain": Stage(FormulaSettings, train),
        "evaluate": Stage(EvaluateSettings, evaluate),
        "report": Stage(ReportSettings, write),
    }
    monkeypatch.setattr(recipe_module, "find_stage", stages.__getitem__)
    path = tmp_path / "formula.yaml"
    path.write_text(TEXT)
    return load_recipe(str(path), [])
