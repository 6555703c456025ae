"""A filter is trained on labelled lines, proves itself or is not written, and is a step of a corpus."""

import json
import random

import pytest
from typer.testing import CliRunner

from malmoi.cli.main import app
from malmoi.core.errors import UserError
from malmoi.corpus.document import Document
from malmoi.corpus.quality_model import QualityFilter, features
from malmoi.corpus.step import Verdict
from malmoi.data.label_tables import TableSettings
from malmoi.pipeline.train_filter import train_filter

GOOD = ["따뜻한", "정성껏", "훌륭한", "친절하게", "thoughtful", "clear"]
BAD = ["클릭", "당첨", "무료쿠폰", "대박할인", "winner", "prize"]
PLAIN = ["오늘", "사람이", "글을", "읽었다", "the", "page", "날씨", "그리고"]


def write(path, labelled):
    rows = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in labelled]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def lines(count=300):
    make = random.Random(1)
    for at in range(count):
        words = make.choices(PLAIN, k=6) + make.choices(GOOD if at % 2 else BAD, k=2)
        yield " ".join(make.sample(words, 8)), "good" if at % 2 else "bad"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("filter")
    proof = train_filter(write(directory / "lines.jsonl", lines()), TableSettings(), "good", directory / "made")
    return directory / "made", proof


def test_it_is_measured_on_lines_it_has_not_seen(trained):
    _, proof = trained
    assert proof.accuracy > 0.95 > 0.7 > proof.majority
    assert proof.texts < 100


def test_it_is_a_step(trained):
    step = QualityFilter(trained[0])
    good, bad = (
        Document("오늘 친절하게 쓴 훌륭한 글을 읽었다", "source"),
        Document("무료쿠폰 당첨 클릭 prize", "source"),
    )
    assert step(good) == good
    dropped = step(bad)
    assert (type(dropped), dropped.rule, dropped.limit) == (Verdict, "quality model, good", ">= 0.5")


def test_the_same_lines_give_the_same_bytes(trained, tmp_path):
    train_filter(write(tmp_path / "lines.jsonl", lines()), TableSettings(), "good", tmp_path / "made")
    names = ("model.safetensors", "filter.json")
    assert [(tmp_path / "made" / name).read_bytes() for name in names] == [
        (trained[0] / name).read_bytes() for name in names
    ]


def test_what_proves_nothing_is_not_written(tmp_path):
    make = random.Random(2)
    labelled = [(f"{text} {at}", make.choice(["good", "bad"])) for at, (text, _) in enumerate(lines())]
    with pytest.raises(UserError, match="proves nothing"):
        train_filter(write(tmp_path / "lines.jsonl", labelled), TableSettings(), "good", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_label_that_no_line_has_is_named(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'good'"):
        train_filter(write(tmp_path / "lines.jsonl", lines()), TableSettings(), "goood", tmp_path / "made")


@pytest.mark.parametrize(
    ("name", "message"), [("filter.json", "holds no trained filter"), ("model.safetensors", "is damaged")]
)
def test_a_filter_that_is_missing_or_damaged_is_refused(trained, tmp_path, name, message):
    for file in trained[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:1000])
    if name == "filter.json":
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=message):
        QualityFilter(tmp_path)


def test_features_of_any_text_are_of_length_one():
    for text in ("", "가", "말모이 words 말모이", "\ud800"):
        _, values = features(text)
        assert float((values**2).sum()) == pytest.approx(1 if values.size else 0, abs=1e-5)


def test_the_command_prints_the_accuracy_beside_the_majority(tmp_path):
    file = write(tmp_path / "lines.jsonl", lines())
    done = CliRunner().invoke(
        app, ["corpus", "train-filter", str(file), "--keep", "good", "--out", str(tmp_path / "made")]
    )
    assert done.exit_code == 0
    assert "by naming the commonest label" in done.output
