"""The stage of classic classifiers stands beside a deep one only where both saw the same texts."""

import json

import pytest

from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import StageRecord
from malmoi.pipeline.stages.classic import ClassicSettings, run


@pytest.fixture
def messages(tmp_path):
    path = tmp_path / "messages.tsv"
    texts = {"광고": "당첨! www.a.kr {} 만원", "말": "집에서 봐 {}"}
    lines = [f"{text.format(number)}\t{label}" for label, text in texts.items() for number in range(40)]
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    return path


def test_each_way_has_a_score_and_a_place_in_the_report(messages, tmp_path):
    result = run(ClassicSettings(file=messages), tmp_path)
    assert set(result["ways"]) == {"features", "naive Bayes", "words", "words and features"}
    assert all(way["accuracy"] == 1 for way in result["ways"].values())
    json.dumps(result)
    page = render([StageRecord(tmp_path, {"kind": "classic", "result": result})], "말모이", "ko")
    assert "손으로 만든 특징" in page
    assert "classic." not in page


def test_a_deep_model_of_the_same_texts_stands_beside(messages, tmp_path):
    run(ClassicSettings(file=messages), tmp_path)
    found = read_json(tmp_path / "classic.json")
    wrong = {"classes": found["classes"], "truth": found["truth"], "predicted": [0] * len(found["truth"])}
    write_json(tmp_path / "predictions.json", wrong)
    result = run(ClassicSettings(file=messages, deep=tmp_path), tmp_path)
    assert result["ways"]["deep"]["accuracy"] == result["majority"]


@pytest.mark.parametrize(
    ("predictions", "sentence"),
    [(None, "no finished classify stage"), ({"classes": ["a"], "truth": [0], "predicted": [0]}, "other texts")],
)
def test_a_deep_model_of_other_texts_is_refused(messages, tmp_path, predictions, sentence):
    if predictions:
        write_json(tmp_path / "predictions.json", predictions)
    with pytest.raises(UserError, match=sentence):
        run(ClassicSettings(file=messages, deep=tmp_path), tmp_path)
