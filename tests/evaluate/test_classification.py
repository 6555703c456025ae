import builtins

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from malmoi.core.errors import MissingExtra, UserError
from malmoi.evaluate.classification import logistic_regression, score_classes


def test_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 4, 200).tolist(), generator.integers(0, 3, 200).tolist()
    score = score_classes(["a", "b", "c", "d"], truth, predicted)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted, zero_division=0)
    assert score.confusion.tolist() == confusion_matrix(truth, predicted).tolist()
    assert score.accuracy == np.mean(np.array(truth) == np.array(predicted))
    assert score.precision == pytest.approx(precision)
    assert score.recall == pytest.approx(recall)
    assert score.f1 == pytest.approx(f1)
    assert score.macro_f1 == pytest.approx(f1.mean())


@pytest.mark.parametrize(("truth", "predicted"), [([0, 1], [0]), ([2], [0]), ([0], [-1])])
def test_numbers_that_are_no_classes_are_refused(truth, predicted):
    with pytest.raises(ValueError, match=r"class|labels"):
        score_classes(["a", "b"], truth, predicted)


@pytest.mark.parametrize("unit", ["word", "character"])
def test_the_control_learns_korean_and_english(unit):
    good, bad = ["재미있어요", "최고예요", "wonderful film"], ["지루했어요", "최악이에요", "awful film"]
    texts = [f"{text} {number}" for number in range(20) for text in (*good, *bad)]
    labels = [0, 0, 0, 1, 1, 1] * 20
    assert logistic_regression(texts, labels, ["정말 최고예요", "최악이에요 정말", "an awful story"], unit) == [0, 1, 1]


def test_three_classes_with_few_texts():
    assert logistic_regression(["해", "달", "별"], [0, 1, 2], ["달"]) == [1]


@pytest.mark.parametrize(("texts", "labels"), [(["a", "b"], [1, 1]), (["", ""], [0, 1])])
def test_what_cannot_be_learned_from_is_said(texts, labels):
    with pytest.raises(UserError, match="training texts"):
        logistic_regression(texts, labels, ["a"])


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    original = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"malmoi\[evaluate\]"):
        logistic_regression(["a", "b"], [0, 1], ["a"])
