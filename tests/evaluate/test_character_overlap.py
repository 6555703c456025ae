import pytest

from malmoi.evaluate.character_overlap import chrf, score_answers

ANSWERS = ["Neue Datei erstellen", "글꼴 크기를 늘리기", ""]
WANTED = ["Eine neue Datei erstellen", "글꼴 크기 늘리기", "Drucken"]


def score(answers, wanted):
    return 100 * chrf(score_answers(answers, wanted).sum(axis=0, keepdims=True))[0]


def test_agrees_with_sacrebleu():
    assert score(ANSWERS, WANTED) == pytest.approx(62.8173572415017)
    alone = [score([answer], [wanted]) for answer, wanted in zip(ANSWERS, WANTED, strict=True)]
    assert alone == pytest.approx([77.3556781023845, 43.23387961659629, 0.0])


def test_the_same_is_all_and_nothing_shared_is_nothing():
    assert score(["여우가 살았습니다"], ["여우가  살았습니다"]) == pytest.approx(100)
    assert score(["fox"], ["곰"]) == 0
