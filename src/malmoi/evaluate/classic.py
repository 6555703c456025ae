"""Classifiers from before deep learning: hand-made features, naive Bayes on word counts, and both together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from malmoi.core.errors import MissingExtra, UserError
from malmoi.evaluate.classification import Integers
from malmoi.evaluate.hand_made import FEATURES, hand_made_features

Predictions = list[int]

WORD = r"(?u)\b\w+\b|[^\w\s]"
"""A word, or a sign."""


def classic_predictions(
    train_texts: Sequence[str], train_labels: Sequence[int], test_texts: Sequence[str]
) -> dict[str, Predictions]:
    """Class numbers of the test texts by each way, in the order of their history.

    Hand-made features, each with mean 0 and deviation 1, under logistic regression; naive Bayes (Maron 1961) on word
    counts; and the words' TF-IDF beside the features under logistic regression.

    Raises:
        MissingExtra: scikit-learn is not installed.
        UserError: the training texts hold fewer than two classes.
    """
    try:
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.naive_bayes import MultinomialNB
        from sklearn.pipeline import make_pipeline, make_union
    except ImportError:
        raise MissingExtra("scikit-learn", "evaluate", "Classic classifiers") from None
    labels = _labels(train_labels)
    words = {"token_pattern": WORD, "dtype": np.float32}
    ways: dict[str, Any] = {
        "features": make_pipeline(_scaled_features(), LogisticRegression(C=1.0, max_iter=1_000)),
        "naive Bayes": make_pipeline(CountVectorizer(**words), MultinomialNB()),
        "words and features": make_pipeline(
            make_union(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, **words), _scaled_features()),
            LogisticRegression(C=10.0, max_iter=1_000),
        ),
    }
    return {
        name: [int(label) for label in way.fit(train_texts, labels).predict(test_texts)] for name, way in ways.items()
    }


def feature_table(texts: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Feature -> class -> its mean over the texts of the class."""
    features, numbers = hand_made_features(texts), np.asarray(labels)
    means = [features[numbers == number].mean(axis=0) for number in range(len(classes))]
    return {
        name: {label: float(mean[place]) for label, mean in zip(classes, means, strict=True)}
        for place, name in enumerate(FEATURES)
    }


def _labels(labels: Sequence[int]) -> Integers:
    numbers = np.asarray(labels, dtype=np.int64)
    if len(np.unique(numbers)) < 2:
        raise UserError("The training texts hold fewer than two classes.", "Check the label column and the split.")
    return numbers


def _scaled_features() -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    measure: Callable[..., Any] = hand_made_features
    return make_pipeline(FunctionTransformer(measure), StandardScaler())
