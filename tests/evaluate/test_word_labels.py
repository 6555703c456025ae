"""Labels by counting, and how good labels are."""

import pytest

from malmoi.core.errors import UserError
from malmoi.data.token_labels import LabelledWords, spacing
from malmoi.evaluate.word_labels import counted_labels, score_labels, spaced

LEARNED = [
    LabelledWords(("배가", "고프다"), ("BODY", "O")),
    LabelledWords(("배가", "뜬다"), ("SHIP", "O")),
    LabelledWords(("배가", "뜬다"), ("SHIP", "O")),
]


def test_counting_looks_at_the_next_word_then_at_the_word_then_at_nothing():
    texts = [("배가", "고프다"), ("배가", "온다"), ("곰이", "뜬다")]
    assert counted_labels(LEARNED, texts) == [["BODY", "O"], ["SHIP", "O"], ["O", "O"]]


def test_words_without_a_label_do_not_count():
    score = score_labels(["BODY", "O", "SHIP"], LEARNED[:2], [["BODY", "O"], ["O", ""]])
    assert score.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_nothing_that_can_be_scored_is_refused():
    with pytest.raises(UserError, match="No word of the test has a label that was learned"):
        score_labels(["other"], LEARNED, [["other"] * 2] * 3)


def test_blanks_go_behind_what_ends_a_word():
    text = spacing("말모이는 낱말을 모은 사전이다.")
    assert spaced(text.words, text.labels) == "말모이는 낱말을 모은 사전이다."
