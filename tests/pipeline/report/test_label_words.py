"""Labels of words stand in the section of classes, beside counting."""

import pytest

from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import read_stages

SCORE = {"classes": ["ends", "goes on"], "confusion": [[7, 1], [1, 7]], "accuracy": 0.875}
FIGURES = {"precision": [0.875] * 2, "recall": [0.875] * 2, "f1": [0.875] * 2, "macro_f1": 0.875}


@pytest.mark.parametrize(("language", "counting"), [("en", "counting neighbours"), ("ko", "이웃 토큰 세기")])
def test_each_label_stands_beside_counting(make_stage, language, counting):
    control = SCORE | FIGURES | {"accuracy": 0.625}
    stage = make_stage("label-words", SCORE | FIGURES | {"control": control, "control_unit": "neighbours"})
    page = render(read_stages([stage]), "spacing-ko", language)
    for expected in (counting, "goes on", "87.5 %", "62.5 %"):
        assert expected in page
