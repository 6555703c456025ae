"""Classifiers that answer with several classes or with a number: learned, saved, opened elsewhere, asked, reported."""

import random

import pytest
import torch
import transformers

from malmoi.cli.predict import predict as ask
from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.classifier import Classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import StageRecord
from malmoi.pipeline.stages.classify import ClassifySettings, run
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

WORDS = {"액션": "총", "로맨스": "사랑", "comedy": "laugh"}
QUICK = {"longest": 32, "rows": 8, "epochs": 10, "learning_rate": 0.003, "train": "all", "control": "character"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    directory = tmp_path_factory.mktemp("base")
    tokenizer = train_tokenizer([" ".join(WORDS.values()) * 5], TokenizerSettings(vocabulary=262, frame="bert"))
    config = EncoderConfig(vocabulary=tokenizer.size, context=32, width=32, layers=1, heads=2)
    save_checkpoint(directory, build_model(config, 0), tokenizer, "")
    return directory


@pytest.fixture
def write(tmp_path):
    def write(make):
        chance = random.Random(0)
        lines = [
            f"{number:03d} {make([name for name in WORDS if chance.random() < 0.5], chance)}" for number in range(200)
        ]
        (tmp_path / "texts.tsv").write_text("text\tother\tlabel\n" + "\n".join(lines) + "\n")
        return tmp_path / "texts.tsv"

    return write


@torch.no_grad()
def scores_of_theirs(directory, text):
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(directory / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory / "model")
    return theirs.config.problem_type, theirs(**tokenizer(*text, return_tensors="pt")).logits[0]


def test_several_classes_are_told_of_a_text(base, write, tmp_path, capsys):
    file = write(lambda names, _: f"영화 {' '.join(WORDS[name] for name in names)}\t\t{'|'.join(names)}")
    result = run(ClassifySettings(base=base, file=file, answer="classes", **QUICK | {"epochs": 20}), tmp_path)
    assert result["micro_f1"] > 0.9
    assert result["control"]["micro_f1"] > 0.5
    assert sorted(result["classes"]) == sorted(WORDS)
    capsys.readouterr()
    ask(tmp_path, ["777 영화 사랑 laugh", "777 영화"])
    one, none = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert one[0].split("|") == [name for name in result["classes"] if name != "액션"]
    assert none[0] == ""
    kind, scores = scores_of_theirs(tmp_path, ["777 영화 총"])
    assert kind == "multi_label_classification"
    assert [result["classes"][number] for number in scores.gt(0).nonzero()[:, 0]] == ["액션"]
    assert "모든 분류의 F1" in render([StageRecord(tmp_path, {"kind": "classify", "result": result})], "", "ko")


def test_a_number_is_told_of_a_pair(base, write, tmp_path, capsys):
    def pair(names, chance):
        text = " ".join(WORDS[name] for name in names) or "없음"
        same = chance.random() < 0.5
        return f"{text}\t{text if same else '영화'}\t{5.0 if same else 0.5}"

    file = write(pair)
    result = run(ClassifySettings(base=base, file=file, answer="number", pair="other", **QUICK), tmp_path)
    assert result["pearson"] > 0.5
    assert result["control"]["pearson"] > 0.9
    assert len(read_json(tmp_path / "predictions.json")["predicted"]) == result["test_texts"]
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.headed(Classifier).answer == "number"
    capsys.readouterr()
    ask(tmp_path, ["사랑\t사랑"])
    said = float(capsys.readouterr().out.split("\t")[0])
    kind, scores = scores_of_theirs(tmp_path, ["사랑", "사랑"])
    assert kind == "regression"
    assert said == pytest.approx(scores.item(), abs=1e-3)
    assert "주어진 수와의 상관" in render([StageRecord(tmp_path, {"kind": "classify", "result": result})], "", "ko")


def test_a_label_that_is_no_number_is_named(base, write, tmp_path):
    file = write(lambda names, _: "영화\t\t좋음")
    with pytest.raises(UserError, match="The label '좋음' of .* is no number"):
        run(ClassifySettings(base=base, file=file, answer="number", **QUICK), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()
