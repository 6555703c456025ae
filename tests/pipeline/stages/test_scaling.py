"""A ladder of models of a moment: the prediction is written before the next size is trained, and stays."""

import pytest

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.corpus.document import Document
from malmoi.corpus.store import DocumentWriter
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import read_stages
from malmoi.pipeline.stages import scaling
from malmoi.pipeline.stages.scaling import ScalingSettings

TALES = ("The fox said to the bear: who are you? ", "여우가 곰에게 물었습니다. 너는 누구냐? ")


@pytest.fixture
def settings(tmp_path, tokenizer):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for split, copies in (("train", 12), ("held_out", 2)):
        with DocumentWriter(corpus / f"{split}.parquet") as writer:
            for number in range(copies):
                writer.write(Document(TALES[number % 2] * (5 + number), "옛이야기", "public domain", f"{number}"))
    tokenizer.save(tmp_path / "tokenizer")
    fields = {"sizes": [(1, 8), (1, 16), (2, 16)], "tokens": [256, 512], "next": (2, 32), "shapes": [(1, 24)]}
    small = {"context": 16, "rows": 4, "trainer": {"precision": "float32"}}
    return ScalingSettings(corpus=corpus, tokenizer=tmp_path / "tokenizer", **fields, **small)


@pytest.fixture
def trained(monkeypatch):
    """Which sizes were trained; one of them may be killed."""

    class Trained(list):
        killed_at = None

    sizes, run = Trained(), scaling.pretrain.run

    def counted(fields, directory):
        sizes.append((fields.model["layers"], fields.model["width"], fields.tokens))
        if sizes[-1] == sizes.killed_at:
            raise KeyboardInterrupt
        return run(fields, directory)

    monkeypatch.setattr(scaling.pretrain, "run", counted)
    return sizes


def test_the_ladder_predicts_before_it_trains(settings, tmp_path, trained, make_stage_record, capsys):
    trained.killed_at = (2, 32, 512)
    with pytest.raises(KeyboardInterrupt):
        scaling.run(settings, tmp_path / "out")
    assert (tmp_path / "out/prediction.json").exists()
    trained.clear()
    trained.killed_at = None
    result = scaling.run(settings, tmp_path / "out")
    assert trained == [(2, 32, 512)]
    assert read_json(tmp_path / "out/prediction.json")["predicted"] == result["next"]["predicted"]
    assert result["off"] == pytest.approx(result["next"]["predicted"] / result["next"]["loss"] - 1)
    assert result["control"] == min(rung["loss"] for rung in result["ladder"] if rung["tokens"] == 512)
    assert "the next size was predicted" in capsys.readouterr().out
    page = render(read_stages([make_stage_record(tmp_path / "out", result)]), "사다리", "ko")
    assert "깊이와 너비" in page
    assert "토큰 512개" in page


@pytest.fixture
def make_stage_record():
    """Writes the record of a finished stage of this kind."""
    from malmoi.core.files import write_json

    def make(directory, result):
        record = {"kind": "scaling", "status": "done", "result": result, "seconds": 1.0, "peak_memory": 1}
        write_json(directory / "stage.json", record | {"started": "2026-11-21T07:00:00+00:00"})
        return directory

    return make


def test_a_size_that_cannot_be_is_said_before_any_is_trained(settings, tmp_path, trained):
    with pytest.raises(UserError, match="the size 2 x 31 of the stage 'scaling'"):
        scaling.run(settings.model_copy(update={"next": (2, 31)}), tmp_path / "out")
    assert trained == []


def test_what_a_ladder_needs_is_said():
    with pytest.raises(ValueError, match="at least 3"):
        ScalingSettings(corpus=".", tokenizer=".", sizes=[(1, 8)])


def test_an_estimate_is_made_before_there_is_a_tokenizer(settings, tmp_path):
    estimate = scaling.estimate(settings.model_copy(update={"tokenizer": tmp_path / "none"}))
    assert estimate.seconds > 0
    assert estimate.lines == ("8 trainings",)
