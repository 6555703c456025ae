"""The section about translators: figures, texts and attention, in both languages."""

import pytest

from malmoi.core.files import append_json_line, write_json
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import read_stages

SCORE = {"bleu": 31.25, "chrf": 55.5}


@pytest.fixture
def stage(make_stage, hostile):
    scores = {"translator": SCORE, "dictionary": SCORE, "copy": SCORE}
    result = SCORE | {
        "beams": 4,
        "one_beam": {"bleu": 30.5, "chrf": 55.0},
        "controls": {"dictionary": {"bleu": 12.5, "chrf": 40.0}, "copy": {"bleu": 0.5, "chrf": 16.0}},
        "files": {"성경": scores | {"pairs": 10}, "도움말": scores | {"pairs": 7}},
        "signatures": {"bleu": "tok:13a", "chrf": "nc:6"},
        "left_out": {"empty side": 3, "too long": 0},
        "perplexity": 5.5,
    }
    directory = make_stage("translator", result)
    record = {
        "source": "The fox lives in the wood",
        "translation": hostile,
        "wanted": "여우는 숲에 삽니다.",
        "chrf": 41.0,
    }
    write_json(directory / "translations.json", {"pairs": [record] * 4})
    looks = {"source": ["The", "fox", "⏎"], "target": ["여우는", "⏎"], "weights": [[0.2, 0.7, 0.1], [0, 0, 1]]}
    write_json(directory / "attention.json", {"texts": [looks]})
    write_json(directory / "texts.json", [["This is an example", "Dies ist ein Beispiel"]])
    for step in range(0, 90, 10):
        line = {"step": step, "prompt": "the fox", "text": f"여우 {step}", "wanted": "그 여우"}
        append_json_line(directory / "samples.jsonl", line)
        append_json_line(directory / "metrics.jsonl", {"step": step, "loss": 5 - step / 50})
    return directory


@pytest.mark.parametrize(("language", "title"), [("en", "Translating"), ("ko", "번역하기")])
def test_the_page_shows_figures_texts_and_attention(stage, hostile, language, title):
    page = render(read_stages([stage]), "translate", language)
    for expected in (
        title,
        "31.2",
        "12.5",
        "Dies ist ein Beispiel",
        "여우는 숲에 삽니다.",
        "그 여우",
        "도움말",
        "tok:13a",
    ):
        assert expected in page
    assert 'title="70 %"' in page
    assert hostile not in page
    assert "translation." not in page.split("<main>")[1]
