"""Fine-tuning: what is frozen stays, a kill changes nothing, mistakes are named."""

import json
import multiprocessing
import os
import random
import signal
import time

import pytest
import torch

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, read_json_lines
from malmoi.core.hashing import hash_file
from malmoi.evaluate.predict import encode_texts, predict
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.classifier import Classifier, TextForm
from malmoi.pipeline.labelled_texts import read_splits
from malmoi.pipeline.recipe import build_step
from malmoi.pipeline.runner import identity, resolve_inputs
from malmoi.pipeline.stages import classify, instruct
from malmoi.pipeline.stages.classify import ClassifySettings
from malmoi.pipeline.stages.instruct import InstructSettings

WORDS = {"좋음": ("최고다", "재미있다", "great", "wonderful"), "나쁨": ("별로다", "지루하다", "bad", "boring")}


@pytest.fixture(scope="module")
def base(tmp_path_factory, make_model, tokenizer):
    directory = tmp_path_factory.mktemp("base") / "model"
    save_checkpoint(directory, make_model(layers=3), tokenizer, "")
    return directory


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path = tmp_path_factory.mktemp("reviews") / "reviews.tsv"
    chance = random.Random(0)
    lines = [f"영화 {chance.random():.6f} {chance.choice(WORDS[label])}\t{label}" for label in WORDS for _ in range(60)]
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory):
    path = tmp_path_factory.mktemp("dialogues") / "dialogues.jsonl"
    records = [{"prompt": f"질문 {number}?", "response": f"답은 {number}입니다."} for number in range(120)]
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


@pytest.mark.parametrize("train", ["head", "last:1", "lora:2", "all"])
def test_a_classifier_learns_and_opens_again(base, reviews, tmp_path, train):
    settings = ClassifySettings(base=base, file=reviews, train=train, epochs=1, rows=8)
    result = classify.run(settings, tmp_path)
    assert set(result) >= {"accuracy", "confusion", "control", "majority"}
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.model.classes == ["나쁨", "좋음"]


def test_a_stored_classifier_reads_texts_as_it_learned_to(base, reviews, tmp_path):
    settings = ClassifySettings(base=base, file=reviews, train="last:1", epochs=1, rows=8, suffix=" The film is")
    classify.run(settings, tmp_path)
    stored = load_checkpoint(tmp_path)
    tested = encode_texts(stored.tokenizer, read_splits(settings).test, stored.headed(Classifier))
    classes = predict(stored.model, tested).argmax(-1)
    assert stored.headed(Classifier).form == TextForm(128, " The film is")
    assert classes.tolist() == read_json(tmp_path / "predictions.json")["predicted"]


def test_stored_states_give_the_same_classifier_as_running_every_layer(base, reviews, tmp_path, monkeypatch):
    settings = ClassifySettings(base=base, file=reviews, train="last:1", epochs=1, rows=8)
    (tmp_path / "stored").mkdir()
    (tmp_path / "whole").mkdir()
    stored = classify.run(settings, tmp_path / "stored")
    monkeypatch.setattr(classify, "_lower_states", lambda classifier, texts, first: texts)
    monkeypatch.setattr(classify, "UpperClassifier", lambda classifier, first: classifier)
    whole = classify.run(settings, tmp_path / "whole")
    assert stored["validation_loss"] == pytest.approx(whole["validation_loss"], abs=1e-5)


def test_frozen_layers_stay_as_they_were(base, reviews, tmp_path):
    classify.run(ClassifySettings(base=base, file=reviews, train="last:1", epochs=1, rows=8), tmp_path)
    before, after = load_checkpoint(base).model, load_checkpoint(tmp_path).model.body
    assert torch.equal(before.blocks[0].attention.query.weight, after.blocks[0].attention.query.weight)
    assert not torch.equal(before.blocks[2].attention.query.weight, after.blocks[2].attention.query.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": "last:9"}, "The base has 3 layers, fewer than train=last:9 trains. Set train=last:3 or train=all"),
        ({"layers": 1}, "The base has 1 layer, fewer than train=last:4 trains. Set train=last:1 or train=all"),
        ({"layers": 9}, "has 3 layers, not 9"),
        ({"text": "txet"}, "Did you mean 'text'"),
        ({"test_file": "test.tsv"}, "no file 'test.tsv', which test_file names"),
        ({"file": "."}, r"\. is a folder. Name a file in it"),
    ],
)
def test_what_cannot_be_is_said(base, reviews, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        classify.run(ClassifySettings(**{"base": base, "file": reviews, **changes}), tmp_path)


def test_a_test_set_of_ones_own_lies_beside_the_texts_and_what_is_in_it_counts(base, reviews, tmp_path):
    file = tmp_path / "learned.tsv"
    file.write_bytes(reviews.read_bytes())
    tested = tmp_path / "tested.tsv"
    tested.write_text("text\tlabel\n새로운 글이다\tgood\n다른 글이다\tbad\n")
    settings = {"stage": "classify", "base": base, "file": file, "test_file": "tested.tsv"}
    step = build_step(settings, "classify", "a test")
    before = identity(step, resolve_inputs(step, {}))
    assert [text.text for text in read_splits(step.settings).test] == ["새로운 글이다", "다른 글이다"]
    tested.write_text("text\tlabel\n또 다른 글이다\tgood\n")
    assert identity(step, resolve_inputs(step, {})) != before


def test_an_assistant_learns_its_answers(base, dialogues, tmp_path):
    settings = InstructSettings(base=base, file=dialogues, epochs=4, held_out=0.2, answer_tokens=4, learning_rate=0.01)
    result = instruct.run(settings, tmp_path)
    assert result["loss_after"] < result["loss_before"]
    answers = list(read_json_lines(tmp_path / "answers.jsonl"))
    assert {"question", "before", "after"} == set(answers[0])
    assert all(answer["before"].endswith("…") for answer in answers)  # cut after four tokens
    assert load_checkpoint(tmp_path).tokenizer.chat_template


def write_dialogues(path, lengths):
    records = [{"prompt": f"질문 {n}?", "response": "답 " * length} for n, length in enumerate(lengths)]
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_dialogues_that_are_too_long_are_counted_and_not_said_to_be_learned(base, tmp_path, capsys):
    path = write_dialogues(tmp_path / "dialogues.jsonl", [3, 90] * 40)
    result = instruct.run(InstructSettings(base=base, file=path, held_out=0.3, answer_tokens=2), tmp_path)
    assert result["dialogues"] + result["held_out_dialogues"] == result["too_long"] == 40
    assert "40 dialogues left out: more than 96 tokens" in capsys.readouterr().out
    assert "40 of more than 96 tokens left out" in (tmp_path / "model" / "card.md").read_text()


@pytest.mark.parametrize(
    ("lengths", "held_out", "message"),
    [
        ([90] * 20, 0.5, "All .* dialogues to learn from have more than 96 tokens. Raise longest"),
        ([3] * 5, 0.001, "Of 5 dialogues none is left to hold out. Add dialogues, or raise held_out"),
        ([3] * 5, 0.999, "Of 5 dialogues none is left to learn from. Add dialogues, or lower held_out"),
    ],
)
def test_a_part_without_dialogues_says_which_and_why(base, tmp_path, lengths, held_out, message):
    path = write_dialogues(tmp_path / "dialogues.jsonl", lengths)
    with pytest.raises(UserError, match=message):
        instruct.run(InstructSettings(base=base, file=path, held_out=held_out), tmp_path)


@pytest.mark.parametrize(
    "setting",
    ["rank=0", "rows=0", "epochs=0", "limit=-5", "held_out=0", "longest=0", "learning_rate=0", "answer_tokens=0"],
)
def test_settings_that_mean_nothing_are_refused(setting):
    name, _, value = setting.partition("=")
    with pytest.raises(UserError, match=name):
        parse_settings(InstructSettings, {name: value}, "the options")


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="needs processes to kill")
def test_fine_tuning_killed_five_times_ends_with_the_same_bits(base, dialogues, tmp_path):
    settings = InstructSettings(base=base, file=dialogues, epochs=4, rows=4, held_out=0.2, answer_tokens=2)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["malmoi.pipeline.stages.instruct"])

    def start(name):
        (tmp_path / name).mkdir(exist_ok=True)
        process = processes.Process(target=instruct.run, args=(settings, tmp_path / name))
        process.start()
        return process

    curve, chance = tmp_path / "killed" / "metrics.jsonl", random.Random(time.time_ns())
    for lines in sorted(chance.sample(range(70), 5)):
        process = start("killed")
        while process.is_alive() and (not curve.exists() or curve.read_bytes().count(b"\n") < lines):
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    for process in (start("killed"), start("untouched")):
        process.join()
        assert process.exitcode == 0
    sums = [hash_file(tmp_path / name / "model/model.safetensors") for name in ("killed", "untouched")]
    assert sums[0] == sums[1]
    assert (tmp_path / "killed/answers.jsonl").read_text() == (tmp_path / "untouched/answers.jsonl").read_text()


def test_a_dry_run_tells_what_a_fine_tuning_takes(base, reviews, dialogues):
    frozen, whole = (
        classify.estimate(ClassifySettings(base=base, file=reviews, train=train)) for train in ("last:1", "all")
    )
    chat = instruct.estimate(InstructSettings(base=base, file=dialogues))
    assert 0 < frozen.seconds < whole.seconds
    assert 0 < chat.memory < 1 << 30


def test_a_dry_run_of_texts_that_are_not_here_goes_by_the_limit(tmp_path):
    limited, open_ended = (
        classify.estimate(ClassifySettings(fetch=tmp_path / "fetch", limit=limit)) for limit in (1_000, 0)
    )
    assert limited.seconds > 0
    assert open_ended.seconds is None
