"""The stage that trains a base model: whole when it ends, the same when it was killed on the way, clear when it cannot."""

import json
import multiprocessing
import os
import random
import signal
import time

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.core.files import read_json, read_json_lines
from malmoi.core.hashing import hash_file
from malmoi.corpus.document import Document
from malmoi.corpus.store import DocumentWriter
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.pipeline.pretraining import fit
from malmoi.pipeline.pretraining.settings import PretrainSettings
from malmoi.pipeline.stage import figures_of
from malmoi.pipeline.stages import pretrain
from malmoi.pipeline.stages.pretrain import run

STEPS = 60
TALES = ("The fox said to the bear: who are you? ", "여우가 곰에게 물었습니다. 너는 누구냐? ")


@pytest.fixture(scope="module")
def settings(tmp_path_factory, tokenizer):
    """Settings of a training of a second; fields can be changed."""
    corpus = tmp_path_factory.mktemp("corpus")
    for split, copies in (("train", 12), ("held_out", 2)):
        with DocumentWriter(corpus / f"{split}.parquet") as writer:
            for source, text in zip(("tales", "옛이야기"), TALES, strict=True):
                for number in range(copies):
                    writer.write(Document(text * (5 + number), source, "public domain", f"{number}"))
    saved = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(saved)

    def make(**changes) -> PretrainSettings:
        fields = {
            "corpus": corpus,
            "tokenizer": saved,
            "steps": STEPS,
            "context": 32,
            "rows": 4,
            "model": {"layers": 1, "width": 32, "heads": 2, "dropout": 0.1},
            "trainer": {"precision": "float32", "checkpoint_every": 7, "validate_every": 20},
            "prompts": ["The fox", "여우가"],
            "mixture": {"tales": 0.25, "옛이야기": 0.75},
        }
        return PretrainSettings(**(fields | changes))

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """The directory and the result of a training that nothing disturbed."""
    directory = tmp_path_factory.mktemp("pretrain")
    return directory, run(settings(), directory)


def test_it_learns_and_says_what_it_took(trained):
    directory, result = trained
    losses = [record["loss"] for record in read_json_lines(directory / "metrics.jsonl") if "loss" in record]
    assert len(losses) == STEPS
    assert losses[-1] < 0.7 * losses[0]
    assert result["steps"] == STEPS
    assert result["tokens"] == STEPS * 4 * 32
    assert result["mixture"]["옛이야기"]["share"] == pytest.approx(0.75, abs=0.05)
    assert read_json(directory / "plan.json")["parameters"] == result["parameters"]
    assert sorted(pretrain.STAGE.figures) == sorted(figures_of(result))
    json.dumps(result)


def test_the_checkpoint_is_the_trained_model(trained, tokenizer):
    directory, result = trained
    checkpoint = load_checkpoint(directory)
    assert sum(parameter.numel() for parameter in checkpoint.model.parameters()) == result["parameters"]
    assert checkpoint.tokenizer.encode(TALES[1]) == tokenizer.encode(TALES[1])
    assert "옛이야기" in checkpoint.card


def test_the_same_prompts_are_completed_on_the_way(trained):
    records = list(read_json_lines(trained[0] / "samples.jsonl"))
    steps = sorted({record["step"] for record in records})
    assert steps[0] == 0
    assert steps[-1] == STEPS
    assert [(r["step"], r["prompt"]) for r in records] == [(s, p) for s in steps for p in ("The fox", "여우가")]


def without_time(record: dict) -> dict:
    times = ("seconds", "processor_seconds", "tokens_per_second")
    return {key: value for key, value in record.items() if key not in times}


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="needs processes to kill")
def test_killed_five_times_it_ends_with_the_same_bits(settings, tmp_path):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["malmoi.pipeline.stages.pretrain"])

    def start(name: str):
        (tmp_path / name).mkdir(exist_ok=True)
        process = processes.Process(target=pretrain.run, args=(settings(), tmp_path / name))
        process.start()
        return process

    untouched = start("untouched")
    chance = random.Random(time.time_ns())
    curve = tmp_path / "killed" / "metrics.jsonl"
    for lines in sorted(chance.sample(range(STEPS - 5), 5)):
        process = start("killed")
        while process.is_alive() and (not curve.exists() or curve.read_bytes().count(b"\n") < lines):
            time.sleep(0.001)
        time.sleep(chance.random() * 0.03)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    for process in (start("killed"), untouched):
        process.join()
        assert process.exitcode == 0
    one, other = tmp_path / "untouched", tmp_path / "killed"
    assert hash_file(one / "model/model.safetensors") == hash_file(other / "model/model.safetensors")
    assert (one / "samples.jsonl").read_text() == (other / "samples.jsonl").read_text()
    curves = [[without_time(record) for record in read_json_lines(path / "metrics.jsonl")] for path in (one, other)]
    assert curves[0] == curves[1]


def test_a_plan_is_made_once(settings, tmp_path, trained):
    """A run that goes on does not measure the machine again."""
    directory = tmp_path / "copy"
    directory.mkdir()
    (directory / "plan.json").write_bytes((trained[0] / "plan.json").read_bytes())
    again = run(settings(steps=None, minutes=100), directory)
    assert again["steps"] == STEPS
    assert hash_file(directory / "model/model.safetensors") == hash_file(trained[0] / "model/model.safetensors")


def test_how_long_is_said_to_the_stage_and_not_to_its_trainer(settings):
    with pytest.raises(ValueError, match="steps is a setting of the stage"):
        settings(trainer={"steps": 12})


def test_the_dial_chooses_a_size_and_tells_from_what(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("malmoi.pipeline.pretraining.dial.SIZES", ((1, 64), (2, 64)))
    monkeypatch.setattr("malmoi.pipeline.pretraining.dial.TRIAL_SECONDS", 0.01)
    result = run(settings(steps=None, minutes=0.001, model={}), tmp_path)
    plan = read_json(tmp_path / "plan.json")
    assert result["parameters"] in [trial["parameters"] for trial in plan["trials"]]
    assert result["steps"] == plan["trainer"]["steps"] >= 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"context": 100_000}, "tales.*too few for a context"),
        ({"mixture": {"tale": 1}}, "Did you mean 'tales'"),
        ({"model": {"layers": 2, "width": 32, "heads": 2, "dropuot": 0.1}}, "dropuot.*Did you mean 'dropout'"),
        ({"model": {"dropuot": 0.1}}, "dropuot.*Did you mean 'dropout'"),
        ({"model": {"layers": 2, "width": 32, "heads": 33}}, "heads=33 do not fit into a width of 32"),
        ({"model": {"preset": "gpt3"}}, "There is no preset 'gpt3'"),
        ({"trainer": {"learning_rte": 1}}, "learning_rte.*Did you mean 'learning_rate'"),
        ({"trainer": {"learning_rate": "fast"}}, "learning_rate"),
    ],
)
def test_what_cannot_be_is_said_before_training(settings, tmp_path, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        run(settings(**changes), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("model", [{"layers": 1, "width": 32, "heads": 2}, {}, {"width": 96}])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"context": 999_999}, "too few for a context of 999,999"),
        ({"trainer": {"recompute": "block"}}, "no block has 'block'.*blocks, .*attention"),
    ],
)
def test_what_needs_no_measurement_is_said_before_one(settings, tmp_path, monkeypatch, changes, sentence, model):
    monkeypatch.setattr(pretrain, "derive_plan", lambda *arguments: pytest.fail("the plan was made"))
    with pytest.raises(UserError, match=sentence):
        run(settings(steps=None, model=model, **changes), tmp_path)


def test_the_figures_that_a_search_may_go_by_are_all_there_are(trained):
    numbers = {name for name, value in trained[1].items() if isinstance(value, (int, float))}
    assert set(pretrain.FIGURES) == numbers


def test_a_checkpoint_can_be_gone_on_from(settings, tmp_path, trained):
    first = trained[1]["validation_loss"]
    changes = {"steps": None, "model": {}, "initial": trained[0], "tokens": 30 * 4 * 32, "context": 500}
    result = run(settings(**changes), tmp_path)
    assert result["steps"] == 30
    assert result["context"] == 32
    assert result["parameters"] == trained[1]["parameters"]
    assert result["validation_loss"] < first


def test_going_on_needs_the_same_tokenizer(settings, tmp_path, trained):
    from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

    train_tokenizer(iter(TALES), TokenizerSettings(kind="byte", vocabulary=262)).save(tmp_path / "other")
    with pytest.raises(UserError, match="trained with another tokenizer"):
        run(settings(model={}, initial=trained[0], tokenizer=tmp_path / "other"), tmp_path)


@pytest.mark.parametrize("changes", [{"tokens": 100}, {"steps": None, "initial": "model"}])
def test_settings_that_contradict_each_other_are_refused(settings, changes):
    with pytest.raises(ValueError, match="cannot both be given|leave out model"):
        settings(**changes)


@pytest.mark.parametrize("field", ["minutes", "steps", "context", "rows", "samples"])
def test_nonsense_numbers_are_refused(settings, field):
    with pytest.raises(ValueError):
        settings(**{field: -1})


def test_weights_are_finite(trained):
    assert all(torch.isfinite(parameter).all() for parameter in load_checkpoint(trained[0]).model.parameters())


def test_settled_settings_do_the_same_work_with_other_rows(settings, tmp_path):
    settled = pretrain.settle(settings(trainer={"precision": "float32", "weight_decay": 0.1}), tmp_path)
    assert (settled.steps, settled.tokens, settled.rows) == (None, STEPS * 4 * 32, 4)
    assert settled.trainer["weight_decay"] == 0.1
    assert {"optimizer", "learning_rate", "slots"} <= set(settled.trainer)
    other = settled.model_copy(update={"rows": 8, "samples": 0})
    assert run(other, tmp_path / "other")["tokens"] == STEPS * 4 * 32
    assert not (tmp_path / "other" / "samples.jsonl").exists()


def test_a_wrong_field_of_the_trainer_is_told_before_anything_runs(settings):
    with pytest.raises(UserError, match="'learnin_rate'.*Did you mean 'learning_rate'"):
        settings(trainer={"learnin_rate": 0.1})


def test_less_memory_makes_smaller_micro_batches_of_the_same_step(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("malmoi.pipeline.pretraining.plan.measured_step", lambda *arguments: lambda rows: rows << 30)
    run(settings(rows=8, memory=2, steps=2, samples=0), tmp_path)
    plan = read_json(tmp_path / "plan.json")
    assert (plan["rows"], plan["trainer"]["slots"], plan["tokens_per_step"]) == (2, 4, 8 * 32)


def test_what_is_available_when_it_begins_holds_after_a_kill(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("malmoi.pipeline.pretraining.plan.measured_step", lambda *arguments: lambda rows: rows << 30)
    for free in (2.0, 8.0):
        monkeypatch.setattr(fit, "available_memory", lambda free=free: free)
        run(settings(rows=8, memory="available", steps=2, samples=0), tmp_path)
        plan = read_json(tmp_path / "plan.json")
        assert (plan["memory"], plan["rows"], plan["trainer"]["slots"]) == (2.0, 2, 4)


def test_a_dry_run_knows_that_micro_batches_grow_into_the_memory(settings, monkeypatch):
    large = settings(rows=32, context=4096, trainer={"precision": "float32", "slots": 4})
    whole = pretrain.estimate(large.model_copy(update={"rows": 128, "trainer": {"slots": 1}}))
    for free, rows in ((1000.0, 128), (0.1, 1)):
        monkeypatch.setattr(fit, "available_memory", lambda free=free: free)
        fitted = pretrain.estimate(large.model_copy(update={"memory": "available"}))
        assert f"of about {rows} of 128 rows" in fitted.lines[-1]
        assert (fitted.memory == whole.memory) == (rows == 128)
        assert fitted.seconds == whole.seconds
