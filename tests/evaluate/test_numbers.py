"""The control that tells numbers of texts."""

import pytest

from malmoi.core.errors import UserError
from malmoi.data.labelled import LabelledText
from malmoi.evaluate.numbers import ridge_regression


def test_texts_without_words_are_refused():
    texts = [LabelledText("!!", "1"), LabelledText("……", "2")]
    with pytest.raises(UserError, match="hold no words"):
        ridge_regression(texts, [1, 2], texts)


def test_a_text_that_shares_words_with_high_ones_gets_a_higher_number():
    train = [LabelledText("아주 좋은 영화", "5"), LabelledText("정말 나쁜 영화", "1")]
    high, low = ridge_regression(train, [5, 1], [LabelledText("좋은 책", "5"), LabelledText("나쁜 책", "1")])
    assert high > low
