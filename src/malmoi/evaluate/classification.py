"""How well texts are sorted into classes, and the control: logistic regression on words or characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from malmoi.core.errors import MissingExtra, UserError

Integers: TypeAlias = NDArray[np.int64]

SEARCHED = 20_000
"""Training texts that the search for the regularisation looks at; the final fit sees all."""


@dataclass(frozen=True)
class ClassificationScore:
    """Counts of true against predicted classes.

    Attributes:
        classes: names of the classes.
        confusion: (classes, classes) int64, row: true class, column: predicted class.
    """

    classes: list[str]
    confusion: Integers

    @property
    def accuracy(self) -> float:
        """Share of texts put into their class; not a number without texts."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def precision(self) -> list[float]:
        """For each class, the share of texts put into it that belong there; 0 when none was."""
        return _ratios(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> list[float]:
        """For each class, the share of its texts that were put into it; 0 when it has none."""
        return _ratios(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def f1(self) -> list[float]:
        """For each class, the harmonic mean of precision and recall."""
        return _ratios(2 * np.diag(self.confusion), self.confusion.sum(axis=0) + self.confusion.sum(axis=1))

    @property
    def macro_f1(self) -> float:
        """Mean of `f1` over the classes, each counting the same."""
        return float(np.mean(self.f1))

    def as_json(self) -> dict[str, Any]:
        """What goes into a stage's result."""
        return {
            "classes": self.classes,
            "accuracy": self.accuracy,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "macro_f1": self.macro_f1,
            "confusion": self.confusion.tolist(),
        }


def score_classes(classes: Sequence[str], truth: Sequence[int], predicted: Sequence[int]) -> ClassificationScore:
    """Compare predicted class numbers with the true ones.

    Raises:
        ValueError: the two sequences are not of equal length, or a number is no class.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} labels beside {len(predicted)} predictions")
    size = len(classes)
    pairs = np.asarray(truth, dtype=np.int64) * size + np.asarray(predicted, dtype=np.int64)
    if any(not 0 <= number < size for number in (*truth, *predicted)):
        raise ValueError(f"a class number outside 0..{size - 1}")
    return ClassificationScore(list(classes), np.bincount(pairs, minlength=size * size).reshape(size, size))


def score_class_sets(
    classes: Sequence[str], truth: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Compare sets of classes, a 1 or 0 for each class, as what goes into a stage's result.

    `accuracy` is the share of texts whose whole set is right, `micro_f1` counts every class of every text the same.

    Raises:
        ValueError: the two are not of one shape, or have not a number for each class.
    """
    one, other = (np.asarray(rows, dtype=np.int64).reshape(len(rows), -1) for rows in (truth, predicted))
    if one.shape != other.shape or one.shape[1] != len(classes):
        raise ValueError(f"{one.shape} labels beside {other.shape} predictions of {len(classes)} classes")
    right, given, there = (one & other).sum(axis=0), other.sum(axis=0), one.sum(axis=0)
    f1 = _ratios(2 * right, given + there)
    return {
        "classes": list(classes),
        "accuracy": float((one == other).all(axis=1).mean()),
        "precision": _ratios(right, given),
        "recall": _ratios(right, there),
        "f1": f1,
        "macro_f1": float(np.mean(f1)),
        "micro_f1": float(2 * right.sum() / max(1, (given + there).sum())),
    }


def _ratios(part: Integers, whole: Integers) -> list[float]:
    return [float(value) for value in part / np.maximum(whole, 1)]


def logistic_regression(
    train_texts: Sequence[str],
    train_labels: Sequence[int],
    test_texts: Sequence[str],
    unit: Literal["word", "character"] = "word",
) -> list[int]:
    """Predict classes by TF-IDF and logistic regression, the control for every fine-tuned classifier.

    Words are counted alone and in pairs, characters in runs of one to four within words (for Korean, whose words carry
    their particles with them). The strength of the regularisation is chosen by cross-validation on the training texts
    alone.

    Raises:
        MissingExtra: scikit-learn is not installed.
        UserError: the training texts hold fewer than two classes, or nothing but empty texts.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV, StratifiedKFold
    except ImportError:
        raise MissingExtra("scikit-learn", "evaluate", "The bag-of-words control") from None
    labels = np.asarray(train_labels)
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2:
        raise UserError("The training texts hold fewer than two classes.", "Check the label column and the split.")
    features = (
        {"token_pattern": r"(?u)\b\w+\b|[^\w\s]", "ngram_range": (1, 2)}
        if unit == "word"
        else {"analyzer": "char_wb", "ngram_range": (1, 4)}
    )
    vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=400_000, dtype=np.float32, **features)
    solver = "liblinear" if len(counts) == 2 else "lbfgs"
    regression = LogisticRegression(C=10.0, solver=solver, max_iter=1_000, random_state=0)
    matrix = learned_counts(vectorizer, train_texts)
    if counts.min() >= 3:
        chosen = np.random.default_rng(0).permutation(len(labels))[:SEARCHED]
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        search = GridSearchCV(regression, {"C": [0.3, 1.0, 3.0, 10.0, 30.0]}, cv=folds, refit=False)
        search.fit(matrix[chosen], labels[chosen])
        regression.set_params(**search.best_params_)
    predicted = regression.fit(matrix, labels).predict(vectorizer.transform(test_texts))
    return [int(label) for label in predicted]


def learned_counts(vectorizer: Any, texts: Sequence[str]) -> Any:
    """(texts, words) what scikit-learn's vectorizer counts in the texts of which it learns the words.

    Raises:
        UserError: the texts hold no words.
    """
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        raise UserError("The training texts hold no words.", "Check the text column.") from None
