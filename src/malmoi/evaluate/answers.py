"""What a classifier answers: one class, several classes or a number; how each is learned, scored and controlled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED, Answer
from malmoi.data.labelled import LabelledText, Splits, class_names, several
from malmoi.evaluate.classification import logistic_regression, score_class_sets, score_classes
from malmoi.evaluate.numbers import ridge_regression, score_numbers
from malmoi.objectives.classification import Classification
from malmoi.objectives.multi_label import MultiLabel
from malmoi.objectives.objective import Objective
from malmoi.objectives.regression import Regression

Unit = Literal["word", "character"]
Texts = Sequence[LabelledText]


class Answering(Protocol):
    """One kind of answer.

    Attributes:
        classes: names of the scores.
        objective: what is learned.
    """

    classes: list[str]
    objective: Objective

    def target(self, label: str) -> int | float | torch.Tensor:
        """What the objective wants to be told of a label."""
        ...

    def decide(self, probabilities: torch.Tensor) -> list[Any]:
        """The answer for each row of (rows, classes) `predict`."""
        ...

    def truth(self, texts: Texts) -> list[Any]:
        """The right answers."""
        ...

    def score(self, truth: list[Any], answers: list[Any]) -> dict[str, Any]:
        """What goes into a stage's result."""
        ...

    def control(self, train: Texts, test: Texts, unit: Unit) -> list[Any]:
        """Answers of a model that counts words or characters."""
        ...


class OneClass:
    """One of the classes, as its number."""

    def __init__(self, classes: list[str]) -> None:
        self.classes = classes
        self.objective: Objective = Classification()
        self._numbers = {name: number for number, name in enumerate(classes)}

    def target(self, label: str) -> int:
        """IGNORED where the label is no class."""
        return self._numbers.get(label, IGNORED)

    def decide(self, probabilities: torch.Tensor) -> list[int]:
        """The likeliest."""
        numbers: list[int] = probabilities.argmax(-1).tolist()
        return numbers

    def truth(self, texts: Texts) -> list[int]:
        """See `Answering`."""
        return [self._numbers[text.label] for text in texts]

    def score(self, truth: list[int], answers: list[int]) -> dict[str, Any]:
        """See `Answering`."""
        return score_classes(self.classes, truth, answers).as_json()

    def control(self, train: Texts, test: Texts, unit: Unit) -> list[int]:
        """Logistic regression."""
        return logistic_regression(_wholes(train), self.truth(train), _wholes(test), unit)


class SeveralClasses:
    """Any number of the classes, 1 or 0 for each."""

    def __init__(self, classes: list[str]) -> None:
        self.classes = classes
        self.objective: Objective = MultiLabel()

    def target(self, label: str) -> torch.Tensor:
        """(classes,) float32."""
        return torch.tensor(self._flags(label), dtype=torch.float32)

    def decide(self, probabilities: torch.Tensor) -> list[list[int]]:
        """Those that are likelier than not."""
        flags: list[list[int]] = (probabilities > 0.5).int().tolist()
        return flags

    def truth(self, texts: Texts) -> list[list[int]]:
        """See `Answering`."""
        return [self._flags(text.label) for text in texts]

    def score(self, truth: list[list[int]], answers: list[list[int]]) -> dict[str, Any]:
        """See `Answering`."""
        return score_class_sets(self.classes, truth, answers)

    def control(self, train: Texts, test: Texts, unit: Unit) -> list[list[int]]:
        """Logistic regression for each class by itself."""
        columns = []
        for labels in zip(*self.truth(train), strict=True):
            alike = len(set(labels)) == 1
            asked = _wholes(test)
            columns.append(
                [labels[0]] * len(asked) if alike else logistic_regression(_wholes(train), labels, asked, unit)
            )
        return [list(row) for row in zip(*columns, strict=True)]

    def _flags(self, label: str) -> list[int]:
        parts = several(label)
        return [int(name in parts) for name in self.classes]


class Number:
    """A number."""

    def __init__(self) -> None:
        self.classes = ["number"]
        self.objective: Objective = Regression()

    def target(self, label: str) -> float:
        """Not a number where the label is none."""
        try:
            return float(label)
        except ValueError:
            return math.nan

    def decide(self, probabilities: torch.Tensor) -> list[float]:
        """The score itself."""
        numbers: list[float] = probabilities[:, 0].tolist()
        return numbers

    def truth(self, texts: Texts) -> list[float]:
        """See `Answering`."""
        return [self.target(text.label) for text in texts]

    def score(self, truth: list[float], answers: list[float]) -> dict[str, Any]:
        """See `Answering`."""
        return score_numbers(truth, answers)

    def control(self, train: Texts, test: Texts, unit: Unit) -> list[float]:
        """Ridge regression, of pairs on how much they share."""
        return ridge_regression(train, self.truth(train), test, unit)


def answering(answer: Answer, classes: list[str]) -> Answering:
    """The kind of answer of a classifier of these classes."""
    if answer == "number":
        return Number()
    return SeveralClasses(classes) if answer == "classes" else OneClass(classes)


def learned_answering(answer: Answer, splits: Splits) -> Answering:
    """What labelled texts teach to answer.

    Raises:
        UserError: a label is no number, a class is never learned, or there is nothing to test on.
    """
    if answer != "number":
        return answering(answer, class_names(splits, answer))
    for text in (*splits.train, *splits.validation, *splits.test):
        if not math.isfinite(Number().target(text.label)):
            raise UserError(f"The label {text.label!r} of {text.text[:40]!r} is no number.", "Leave answer=number out.")
    if not (splits.train and splits.test):
        raise UserError("There are no texts to learn from, or none to test on.", "Add texts, or change the shares.")
    return Number()


def _wholes(texts: Texts) -> list[str]:
    return [text.whole for text in texts]
