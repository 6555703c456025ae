"""The section about answers in passages: figures beside the control, and answers marked, in both languages."""

import pytest

from malmoi.core.files import append_json_line, write_json
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import read_stages

FIGURES = {"exact_match": 0.3125, "f1": 0.4375, "f1_given": 0.5, "wrongly_unanswered": 0.125, "left_unanswered": 0.75}
PASSAGE = "주시경이 1910년에 말모이를 엮었다."


@pytest.fixture
def stage(make_stage, hostile):
    control = {name: value / 2 for name, value in FIGURES.items()}
    result = FIGURES | {"control": control, "unit": "character", "unanswerable": 12, "train_questions": 808}
    directory = make_stage("questions", result)
    shown = {"passage": PASSAGE, "score": 1.0, "counted": "말모이"}
    records = [
        {"question": "누가 엮었나?", "wanted": ["주시경"], "answer": "주시경", "span": [0, 3], "f1": 1.0},
        {"question": "언제 엮었나?", "wanted": ["1910년"], "answer": "말모이", "span": [12, 15], "f1": 0.0},
        {"question": hostile, "wanted": [], "answer": "", "span": [0, 0], "f1": 1.0},
    ]
    write_json(directory / "answers.json", [shown | record for record in records])
    append_json_line(directory / "metrics.jsonl", {"step": 1, "loss": 5.0})
    return directory


@pytest.mark.parametrize(("language", "title"), [("en", "Answers in passages"), ("ko", "지문에서 답 찾기")])
def test_the_page_shows_figures_and_marks_answers(stage, hostile, language, title):
    page = render(read_stages([stage]), "questions", language)
    for expected in (title, "43.8 %", "21.9 %", '<mark class="found">주시경</mark>', "808"):
        assert expected in page
    assert '<mark class="wanted">1910년</mark>에 <mark class="found">말모이</mark>' in page
    assert "malmoi answer" in page
    assert hostile not in page
    assert "questions.unit" not in page
