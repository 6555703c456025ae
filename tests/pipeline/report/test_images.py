"""Images in the report: pictures that the page holds itself, controls beside every figure."""

import re

import pytest
import torch

from malmoi.core.files import append_json_line
from malmoi.pipeline.pictures import data_address, grid, png
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import read_stages

SCORE = {"classes": ["개", "새"], "accuracy": 0.75, "confusion": [[3, 1], [1, 3]]}
RESULT = SCORE | {
    "controls": {"regression": SCORE | {"accuracy": 0.5}, "neighbour": SCORE | {"accuracy": 0.625}},
    "network": "cnn",
    "frozen_unchanged": True,
    "skipped_images": {"개/note.txt": "no image"},
}
MADE = {"shares": [0.9, 0.1], "sure": 0.8, "real": 0.5, "variety": 0.25, "nearest": 0.34}


@pytest.fixture
def picture():
    return png(torch.full((1, 4, 4), 7, dtype=torch.uint8))


def test_a_grid_has_its_images_in_rows():
    sheet = grid(torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 2, 2), columns=2, gap=1)
    assert sheet[0].tolist() == [
        [0, 0, 128, 1, 1],
        [0, 0, 128, 1, 1],
        [128] * 5,
        [2, 2, 128, 128, 128],
        [2, 2, 128, 128, 128],
    ]


@pytest.mark.parametrize(("language", "title"), [("en", "Telling images apart"), ("ko", "이미지 가려내기")])
def test_classifiers_stand_beside_controls_with_what_they_got_wrong(make_stage, picture, hostile, language, title):
    directory = make_stage("classify-images", RESULT, "digits")
    wrong = {"true": "새", "predicted": hostile, "probability": 0.9, "picture": data_address(picture)}
    append_json_line(directory / "wrong.jsonl", wrong)
    page = render(read_stages([directory, make_stage("classify-images", RESULT, "scratch")]), "r", language)
    for expected in (title, "75.0 %", "62.5 %", "50.0 %", "90 %", "digits", "scratch", "개/note.txt: no image"):
        assert expected in page
    assert hostile not in page
    assert page.count('<div class="track control">') == 2  # equal controls of both stand once
    assert page.count("<img ") == 1


def test_made_images_are_shown_over_time_and_beside_controls(make_stage, picture):
    scores = dict.fromkeys(("made", "held_out", "gaussian", "means"), MADE)
    result = {"classes": ["개", "새"], "scores": scores, "least_share": 0.1, "samples": 1000, "sure": 0.9}
    directory = make_stage("generate-images", result)
    (directory / "pictures").mkdir()
    for name in ("step-000000", "step-000900", *scores):
        (directory / "pictures" / f"{name}.png").write_bytes(picture)
    for step in (10, 20):
        record = {"step": step, "validation_generator": 1.0, "validation_discriminator": 1.4}
        append_json_line(directory / "metrics.jsonl", record)
    page = render(read_stages([directory]), "gan", "en")
    for expected in ("step 900", "each pixel drawn alone", "0.340", "10.0 %", "the judge is sure of 80.0 %"):
        assert expected in page
    assert page.count("<img ") == 6


def test_pictures_are_inside_the_page(make_stage, picture):
    directory = make_stage("classify-images", RESULT)
    record = {"true": "개", "predicted": "새", "probability": 1.0, "picture": data_address(picture)}
    append_json_line(directory / "wrong.jsonl", record)
    page = render(read_stages([directory]), "r", "en")
    assert all(address.startswith("data:image/png;base64,") for address in re.findall(r'src="([^"]*)"', page))
    assert "img-src data:;" in page
