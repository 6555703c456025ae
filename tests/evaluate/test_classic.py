"""Hand-made features measure what their names say; the classic ways sort what they can see."""

import numpy as np
import pytest

from malmoi.core.errors import UserError
from malmoi.evaluate.classic import classic_predictions, feature_table
from malmoi.evaluate.hand_made import FEATURES, hand_made_features

SPAM = ["WIN £500 now!! www.prize.com", "당첨! 50만원 받기 http://a.kr 1234"]
HAM = ["see you at home", "집에서 봐"]


@pytest.mark.parametrize(
    ("text", "feature", "wanted"),
    [
        ("WIN it", "capitals", 3 / 6),
        ("당첨! 50만원!", "exclamation marks", 2),
        ("당첨 50만원, £5", "money", 2),
        ("see www.prize.com and a.kr", "links", 2),
        ("말모이 사전", "words", 2),
        ("말모이 12", "digits", 2 / 6),
        ("", "characters", 0),
        ("", "capitals", 0),
    ],
)
def test_a_feature_measures_what_it_is_called(text, feature, wanted):
    assert hand_made_features([text])[0, list(FEATURES).index(feature)] == pytest.approx(wanted)


def test_no_text_has_no_features():
    assert hand_made_features([]).shape == (0, len(FEATURES))


def test_every_way_tells_spam_from_messages():
    predicted = classic_predictions([*SPAM * 4, *HAM * 4], [1] * 8 + [0] * 8, [SPAM[1], HAM[1]])
    assert predicted == {"features": [1, 0], "naive Bayes": [1, 0], "words and features": [1, 0]}


def test_the_table_has_the_means_of_each_class():
    table = feature_table([*SPAM, *HAM], [1, 1, 0, 0], ["ham", "spam"])
    assert table["links"] == {"ham": 0.0, "spam": 1.0}
    assert np.isfinite([value for row in table.values() for value in row.values()]).all()


def test_one_class_is_too_few():
    with pytest.raises(UserError, match="fewer than two classes"):
        classic_predictions(HAM, [0, 0], HAM)
