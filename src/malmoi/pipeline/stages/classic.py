"""Sort texts with what there was before deep learning, beside a deep classifier of the same texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.data.labelled import class_names
from malmoi.evaluate.classic import classic_predictions, feature_table
from malmoi.evaluate.classification import logistic_regression, score_classes
from malmoi.pipeline.labelled_texts import LabelledTextsSettings, read_splits
from malmoi.pipeline.stage import Stage, StageInput

PREDICTIONS = "predictions.json"


class ClassicSettings(LabelledTextsSettings):
    """Settings of the stage, beside those of its texts.

    Attributes:
        deep: a classify stage of the same texts and split, to stand beside.
    """

    deep: StageInput | None = None


def run(settings: ClassicSettings, directory: Path) -> dict[str, Any]:
    """Write `classic.json` into `directory`, the predicted classes of every way."""
    splits = read_splits(settings)
    classes = class_names(splits)
    train, test = ([text.whole for text in part] for part in (splits.train, splits.test))
    labels, truth = ([classes.index(text.label) for text in part] for part in (splits.train, splits.test))
    deep = _deep(settings.deep, classes, truth)
    with console.status("classic classifiers"):
        predicted = classic_predictions(train, labels, test)
        predicted["words"] = logistic_regression(train, labels, test)
    scores = {name: score_classes(classes, truth, one).as_json() for name, one in (predicted | deep).items()}
    write_json(directory / "classic.json", {"classes": classes, "truth": truth, "predicted": predicted})
    for name, score in scores.items():
        console.print(f"  {name}: accuracy {score['accuracy']:.1%}, macro F1 {score['macro_f1']:.3f}")
    return {
        "classes": classes,
        "train_texts": len(train),
        "test_texts": len(test),
        "majority": max(truth.count(number) for number in range(len(classes))) / len(truth),
        "ways": scores,
        "features": feature_table(train, labels, classes),
    }


def _deep(stage: Path | None, classes: list[str], truth: list[int]) -> dict[str, list[int]]:
    """What a classify stage predicted.

    Raises:
        UserError: it was tested on other texts.
    """
    if stage is None:
        return {}
    path = stage / PREDICTIONS
    if not path.is_file():
        raise UserError(f"{stage} is no finished classify stage: it has no {PREDICTIONS}.", "Name one in deep.")
    found = read_json(path)
    if found["classes"] != classes or found["truth"] != truth:
        raise UserError(f"{stage} was tested on other texts.", "Give both stages the same texts and the same split.")
    predicted: list[int] = found["predicted"]
    return {"deep": predicted}


STAGE = Stage(ClassicSettings, run)
