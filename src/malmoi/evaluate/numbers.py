"""How well numbers are told of texts, and the control: ridge regression on words or characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from malmoi.core.errors import MissingExtra
from malmoi.data.labelled import LabelledText
from malmoi.evaluate.classification import learned_counts


def score_numbers(truth: Sequence[float], answers: Sequence[float]) -> dict[str, Any]:
    """Pearson's correlation, Spearman's (of the ranks, equal ones sharing theirs), and the root mean square error.

    Correlations are 0 where all numbers are alike.

    Raises:
        ValueError: the two sequences are not of equal length.
    """
    if len(truth) != len(answers):
        raise ValueError(f"{len(truth)} numbers beside {len(answers)} answers")
    one, other = np.asarray(truth, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    return {
        "pearson": _correlation(one, other),
        "spearman": _correlation(_ranks(one), _ranks(other)),
        "error": float(np.sqrt(np.mean((one - other) ** 2))),
    }


def ridge_regression(
    train: Sequence[LabelledText],
    truth: Sequence[float],
    test: Sequence[LabelledText],
    unit: Literal["word", "character"] = "word",
) -> list[float]:
    """Predict numbers by ridge regression on TF-IDF, or of pairs on the cosine of the two.

    Raises:
        MissingExtra: scikit-learn is not installed.
        UserError: the training texts hold no words.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import Ridge
    except ImportError:
        raise MissingExtra("scikit-learn", "evaluate", "The control by counting") from None
    cut = {"analyzer": "char_wb", "ngram_range": (1, 4)} if unit == "character" else {"token_pattern": r"(?u)\b\w+\b"}
    vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=400_000, dtype=np.float32, **cut)
    learned_counts(vectorizer, [text.whole for text in train])

    def features(texts: Sequence[LabelledText]) -> Any:
        first = vectorizer.transform([text.text for text in texts])
        if texts[0].pair is None:
            return first
        second = vectorizer.transform([text.pair or "" for text in texts])
        return np.asarray(first.multiply(second).sum(axis=1))

    predicted = Ridge(alpha=1.0).fit(features(train), truth).predict(features(test))
    return [float(number) for number in predicted]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if not len(one) or one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(numbers: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[places]
