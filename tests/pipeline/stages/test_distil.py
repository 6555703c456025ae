"""A smaller model is taught what a larger one answers, beside the same one without a teacher."""

import random

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.corpus.document import Document
from malmoi.corpus.store import DocumentWriter
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.classifier import Classifier, TextForm
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.pipeline.stages.distil import DistilSettings, run
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TALES = ("The fox said to the bear: who are you? ", "여우가 곰에게 물었습니다. 너는 누구냐? ")
QUICK = {"steps": 3, "rows": 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    for split, copies in (("train", 8), ("held_out", 2)):
        with DocumentWriter(directory / f"{split}.parquet") as writer:
            for source, text in zip(("tales", "옛이야기"), TALES, strict=True):
                for number in range(copies):
                    writer.write(Document(text * (9 + number), source, "public domain", f"{number}"))
    return directory


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, make_model, shake, tokenizer):
    directory = tmp_path_factory.mktemp("teacher")
    save_checkpoint(directory / "model", shake(make_model(layers=4, context=32)), tokenizer, "")
    return directory


@pytest.fixture(scope="module")
def judge(tmp_path_factory, shake, tokenizer):
    """A classifier of two classes."""
    directory = tmp_path_factory.mktemp("judge")
    body = build_model(EncoderConfig(vocabulary=tokenizer.size, context=32, width=32, layers=2, heads=4), seed=0)
    classifier = shake(Classifier(body, ["나쁨", "좋음"], form=TextForm(longest=16)))
    save_checkpoint(directory / "model", classifier, tokenizer, "")
    return directory


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path, chance = tmp_path_factory.mktemp("reviews") / "reviews.tsv", random.Random(0)
    lines = [
        f"{''.join(chance.choices('가나다라마', k=6))} {word}\t{label}"
        for word, label in (("재미있다", "좋음"), ("지루하다", "나쁨"))
        for _ in range(20)
    ]
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    return path


def test_a_language_model_teaches_half_of_its_layers(corpus, teacher, tmp_path):
    facts = run(DistilSettings(teacher=teacher, corpus=corpus, hidden=0.5, **QUICK), tmp_path)
    assert facts["figures"].keys() == {"teacher", "student", "control"}
    assert facts["parameters"]["student"] < facts["parameters"]["teacher"]
    assert facts["layers"] == 2
    for place in (tmp_path, tmp_path / "control"):
        assert load_checkpoint(place).language_model.config.layers == 2


def test_the_learning_rate_fits_the_size_of_the_teachers_numbers(corpus, tmp_path, make_model, tokenizer):
    rates = {}
    for size in (0.1, 1.0):
        model = make_model(layers=2, context=32)
        torch.nn.init.constant_(model.embedding.weight, size)
        save_checkpoint(tmp_path / f"{size}" / "model", model, tokenizer, "")
        settings = DistilSettings(teacher=tmp_path / f"{size}", corpus=corpus, control=False, **QUICK)
        rates[size] = run(settings, tmp_path / f"student of {size}")["learning_rate"]
    assert rates == {0.1: 5e-4, 1.0: 5e-3}


def test_a_learning_rate_may_be_given(corpus, teacher, tmp_path):
    settings = DistilSettings(teacher=teacher, corpus=corpus, control=False, learning_rate=2e-4, **QUICK)
    assert run(settings, tmp_path)["learning_rate"] == 2e-4


def test_without_a_teacher_the_student_is_its_own_control(corpus, teacher, tmp_path):
    facts = run(DistilSettings(teacher=teacher, corpus=corpus, alpha=0, **QUICK), tmp_path)
    assert facts["figures"]["student"] == facts["figures"]["control"]
    assert facts["share_of_gap_closed"] == 0


def test_a_classifier_teaches_another(judge, reviews, tmp_path):
    facts = run(DistilSettings(teacher=judge, file=reviews, layers=1, **QUICK), tmp_path)
    assert facts["figure"] == "accuracy"
    assert 0 <= facts["figures"]["student"] <= 1
    assert load_checkpoint(tmp_path).headed(Classifier).classes == ["나쁨", "좋음"]


def test_another_student_may_be_given(corpus, teacher, tmp_path, make_model, shake, tokenizer):
    save_checkpoint(tmp_path / "student", shake(make_model(layers=1, width=16, context=32)), tokenizer, "")
    settings = DistilSettings(teacher=teacher, student=tmp_path / "student", corpus=corpus, control=False, **QUICK)
    facts = run(settings, tmp_path)
    assert load_checkpoint(tmp_path).language_model.config.width == 16
    assert facts["share_of_gap_closed"] is None


def test_a_student_with_other_heads_cannot_look_where_the_teacher_looks(
    corpus, teacher, tmp_path, make_model, tokenizer
):
    save_checkpoint(tmp_path / "student", make_model(layers=2, heads=2, context=32), tokenizer, "")
    with pytest.raises(UserError, match="2 heads and the teacher 4.*Set attention=0"):
        run(DistilSettings(teacher=teacher, student=tmp_path / "student", corpus=corpus, attention=1.0), tmp_path)


def test_a_student_learns_where_the_teacher_looks(corpus, teacher, judge, reviews, tmp_path):
    facts = run(
        DistilSettings(teacher=teacher, corpus=corpus, attention=1.0, control=False, **QUICK), tmp_path / "text"
    )
    assert facts["attention"] == 1
    facts = run(
        DistilSettings(teacher=judge, file=reviews, attention=1.0, control=False, **QUICK), tmp_path / "classes"
    )
    assert facts["layers"] == 1


def test_other_tokens_are_refused(corpus, teacher, tmp_path, make_model):
    other = train_tokenizer(["여우가 숲에 산다."] * 2, TokenizerSettings(kind="character", vocabulary=0))
    save_checkpoint(tmp_path / "student", make_model(vocabulary=other.size), other, "")
    with pytest.raises(UserError, match="other tokens .* teacher's tokenizer"):
        run(DistilSettings(teacher=teacher, student=tmp_path / "student", corpus=corpus), tmp_path)


def test_what_cannot_be_taught_is_refused_before_anything_learns(corpus, teacher, judge, reviews, tmp_path, tokenizer):
    other = tmp_path / "other.tsv"
    other.write_text(reviews.read_text().replace("좋음", "그저 그럼"))
    body = judge / "model"
    cases = [
        ({"teacher": teacher}, "Add corpus"),
        ({"teacher": teacher, "corpus": corpus, "layers": 9}, "9 of 4 layers"),
        ({"teacher": teacher, "corpus": corpus, "student": teacher, "layers": 2}, "Leave out layers"),
        ({"teacher": teacher, "corpus": corpus, "student": body}, "student of the teacher's kind"),
        ({"teacher": judge, "file": other}, "classes 그저 그럼, 나쁨, and the teacher 나쁨, 좋음"),
    ]
    for fields, words in cases:
        with pytest.raises(UserError, match=words):
            run(DistilSettings(**fields), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_bare_encoder_teaches_nobody(corpus, tmp_path, tokenizer):
    config = EncoderConfig(vocabulary=tokenizer.size, context=32, width=32, layers=1, heads=4)
    save_checkpoint(tmp_path / "model", build_model(config, seed=0), tokenizer, "")
    with pytest.raises(UserError, match="no language model"):
        run(DistilSettings(teacher=tmp_path, corpus=corpus), tmp_path)


def test_answers_are_kept_for_the_next_student(corpus, teacher, tmp_path):
    settings = DistilSettings(teacher=teacher, corpus=corpus, answers=tmp_path / "answers", control=False, **QUICK)
    run(settings, tmp_path / "first")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "answers").glob("*.safetensors")}
    run(settings.model_copy(update={"learning_rate": 1e-4}), tmp_path / "second")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "answers").glob("*.safetensors")} == kept
    assert len(kept) >= QUICK["steps"]


def test_answers_made_otherwise_are_refused(corpus, teacher, tmp_path):
    settings = DistilSettings(teacher=teacher, corpus=corpus, answers=tmp_path / "answers", control=False, **QUICK)
    run(settings, tmp_path / "first")
    with pytest.raises(UserError, match="answers of another temperature. Name another folder"):
        run(settings.model_copy(update={"temperature": 2.0}), tmp_path / "second")


def test_answers_have_a_folder_of_their_own(corpus, teacher, tmp_path):
    settings = DistilSettings(teacher=teacher, corpus=corpus, answers=teacher / "answers", **QUICK)
    with pytest.raises(UserError, match="the teacher's own folder"):
        run(settings, tmp_path / "student")
    with pytest.raises(UserError, match="something else than answers"):
        run(settings.model_copy(update={"answers": corpus}), tmp_path / "student")
