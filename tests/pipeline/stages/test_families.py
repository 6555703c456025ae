"""Every family of language models through the same stages: trained, stopped and gone on, evaluated, compared, refused."""

import json
from pathlib import Path

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.core.files import read_json, read_json_lines
from malmoi.core.hashing import hash_file
from malmoi.corpus.document import Document
from malmoi.corpus.store import DocumentWriter
from malmoi.evaluate import bits_per_byte
from malmoi.evaluate.generation import ROUNDS, STEPS, generation_costs
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model, language_models
from malmoi.objectives.causal import Causal
from malmoi.pipeline.pretraining.settings import PretrainSettings
from malmoi.pipeline.stages import compare, evaluate, instruct
from malmoi.pipeline.stages.pretrain import run

MODELS = {
    "gpt": {"layers": 1, "width": 32, "heads": 2},
    "lstm": {"layers": 2, "width": 32, "truncation": 12},
    "convolution": {"layers": 2, "width": 32},
    "state-space": {"layers": 2, "width": 32, "state": 8},
}
TALES = ("The fox said to the bear: who are you? ", "여우가 곰에게 물었습니다. 너는 누구냐? ")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    for split, copies in (("train", 12), ("held_out", 3)):
        with DocumentWriter(directory / f"{split}.parquet") as writer:
            for text in TALES:
                for number in range(copies):
                    writer.write(Document(text * (5 + number), "tales", "public domain", f"{number}"))
    return directory


@pytest.fixture(scope="module")
def settings(corpus, tmp_path_factory, tokenizer):
    """Makes settings of a training of a moment."""
    saved = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(saved)

    def make(family="lstm", **changes):
        fields = {
            "corpus": corpus, "tokenizer": saved, "steps": 40, "context": 32, "rows": 4, "prompts": ["여우가"],
            "trainer": {"precision": "float32", "checkpoint_every": 7, "validate_every": 20}, "samples": 2,
            "family": family, "model": {**MODELS.get(family, {}), "dropout": 0.1},
        }  # fmt: skip
        return PretrainSettings(**(fields | changes))

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """Directories of a trained model of each family."""
    directory = tmp_path_factory.mktemp("families")
    for family in MODELS:
        (directory / family).mkdir()
        run(settings(family), directory / family)
    return directory


def test_there_is_a_test_of_every_family():
    assert list(MODELS) == list(language_models())


@pytest.mark.parametrize("family", MODELS)
def test_it_learns_and_its_checkpoint_is_what_was_trained(trained, family):
    losses = [line["loss"] for line in read_json_lines(trained / family / "metrics.jsonl") if "loss" in line]
    assert losses[-1] < 0.7 * losses[0]
    checkpoint = load_checkpoint(trained / family)
    assert checkpoint.language_model.config.model_dump() == read_json(trained / family / "plan.json")["model"]
    assert {line["step"] for line in read_json_lines(trained / family / "samples.jsonl")} == {0, 40}


@pytest.mark.parametrize("family", [name for name in MODELS if name != "gpt"])
def test_stopped_anywhere_it_ends_with_the_same_bits(trained, settings, tmp_path, monkeypatch, family):
    (tmp_path / family).mkdir()
    for stop in (3, 11, 30):
        calls, learn = [], Causal.loss

        def interrupted(self, model, batch, calls=calls, learn=learn, stop=stop):
            calls.append(None)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return learn(self, model, batch)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Causal, "loss", interrupted)
            run(settings(family), tmp_path / family)
    run(settings(family), tmp_path / family)
    files = [folder / family / "model/model.safetensors" for folder in (trained, tmp_path)]
    assert hash_file(files[0]) == hash_file(files[1])


@pytest.mark.parametrize("family", [name for name in MODELS if name != "gpt"])
def test_the_dial_chooses_a_size_of_every_family(settings, tmp_path, monkeypatch, family):
    monkeypatch.setattr("malmoi.pipeline.pretraining.dial.SIZES", ((1, 32), (2, 32)))
    monkeypatch.setattr("malmoi.pipeline.pretraining.dial.TRIAL_SECONDS", 0.01)
    result = run(settings(family, steps=None, minutes=0.001, model={"dropout": 0.2}), tmp_path)
    assert result["family"] == family
    assert result["parameters"] in [trial["parameters"] for trial in read_json(tmp_path / "plan.json")["trials"]]
    assert load_checkpoint(tmp_path).language_model.config.dropout == 0.2


@pytest.mark.parametrize("family", [name for name in MODELS if name != "gpt"])
def test_bits_per_byte_with_the_state_carried_through_a_document(trained, family, monkeypatch):
    """Read in parts or at once, beside other documents or alone: the same."""
    model, documents = load_checkpoint(trained / family).language_model, [[5, 6, 7] * 30, [8] * 41, [], [9]]
    logits = model.logits(torch.tensor([[0, *documents[0][:-1]]]))[0].double().log_softmax(-1)
    wanted = -sum(logits[place, token].item() for place, token in enumerate(documents[0]))
    monkeypatch.setattr(bits_per_byte, "ROW_TOKENS", 16)
    nats = bits_per_byte.document_nats(model, documents, start=[0])
    assert nats[0] == pytest.approx(wanted, rel=1e-5)
    monkeypatch.setattr(bits_per_byte, "ROW_TOKENS", 1000)
    assert bits_per_byte.document_nats(model, documents, start=[0]) == pytest.approx(nats, rel=1e-5)


def test_they_are_evaluated_and_compared(trained, corpus, tmp_path, capsys):
    paths = [trained / family for family in MODELS]
    one = evaluate.run(evaluate.EvaluateSettings(checkpoint=trained / "lstm", corpus=corpus), tmp_path)
    settings = compare.CompareSettings(checkpoints=paths, corpus=corpus, rows=2, step_rows=2, generation=[150, 300])
    result = compare.run(settings, tmp_path)
    capsys.readouterr()
    models = result["models"]
    assert list(models) == list(MODELS)
    assert models["lstm"]["bits_per_byte"] == pytest.approx(one["bits_per_byte"], rel=1e-6)
    assert [models[name]["mixing"] for name in MODELS] == [["full"], ["lstm"], ["convolution(7)"], ["state space"]]
    kept = {name: [cost["bytes"] for cost in models[name]["generation"].values()] for name in MODELS}
    assert kept["gpt"][1] == 2 * kept["gpt"][0]
    assert all(kept[name][0] == kept[name][1] for name in MODELS if name != "gpt")
    assert all(len(models[name]["learning"]) == 2 for name in MODELS)
    assert all(models[name]["training_processor_seconds"] > 0 for name in MODELS)
    assert load_checkpoint(trained / "gpt").language_model.config.context == 32


def test_the_tables_fit_a_screen(trained, corpus, tmp_path, capsys):
    paths = [trained / family for family in ("gpt", "state-space")]
    compare.run(compare.CompareSettings(checkpoints=paths, corpus=corpus, rows=1, generation=[512, 1024]), tmp_path)
    printed = capsys.readouterr().out
    assert "state-space" in printed
    assert "…" not in printed


def test_generation_that_cannot_be_timed_is_refused(tokenizer):
    shape = {"vocabulary": tokenizer.size, "context": 64, "width": 16, "layers": 1, "heads": 2}
    models = {"old": build_model(GPTConfig(**shape, positions="learned"), seed=0)}
    with pytest.raises(UserError, match="old has weights for each of its 64 positions and cannot go on to 500"):
        generation_costs(models, [1, 2, 3], [500])
    with pytest.raises(UserError, match=f"100 tokens is too short.*{STEPS * ROUNDS + 1} or more"):
        generation_costs(models, [1, 2, 3], [100])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": {"layers": 1, "width": 32, "attention": "window(8)"}}, "family lstm has no 'attention'.*family=gpt"),
        ({"model": {"layers": 1, "width": 32, "reversible": True}}, "family lstm has no 'reversible'.*family=gpt"),
        ({"model": {"layers": 1, "widht": 32}}, "widht.*Did you mean 'width'"),
        ({"model": {"preset": "gpt2"}}, "'gpt2' is of the family gpt"),
        ({"family": "gpt", "model": {"layers": 1, "width": 32, "truncation": 8}}, "has no 'truncation'.*family=lstm"),
        ({"family": "state-space", "model": {"layers": 1, "width": 32, "head_width": 48}}, "head_width=48 does not"),
    ],
)
def test_what_a_family_does_not_have_is_said_before_training(settings, tmp_path, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        run(settings(**changes), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize(("family", "train"), [("lstm", "all"), ("state-space", "lora")])
def test_an_assistant_can_be_made_of_one(trained, tmp_path, family, train):
    dialogue = {"messages": [{"role": "user", "content": "너는 {}?"}, {"role": "assistant", "content": "여우 {}."}]}
    lines = [json.dumps(dialogue, ensure_ascii=False).replace("{}", str(number)) for number in range(40)]
    (tmp_path / "dialogues.jsonl").write_text("\n".join(lines), encoding="utf-8")
    settings = instruct.InstructSettings(
        base=trained / family, file=tmp_path / "dialogues.jsonl", train=train, answer_tokens=4, held_out=0.2, epochs=2
    )
    result = instruct.run(settings, tmp_path)
    assert result["loss_after"] < result["loss_before"]
    assert load_checkpoint(tmp_path).tokenizer.chat_template is not None


def test_low_rank_differences_of_an_lstm_are_refused(trained, tmp_path):
    dialogue = [{"role": "user", "content": "너는?"}, {"role": "assistant", "content": "여우."}]
    lines = [json.dumps({"messages": [{**dialogue[0], "content": f"{number}?"}, dialogue[1]]}) for number in range(40)]
    (tmp_path / "dialogues.jsonl").write_text("\n".join(lines), encoding="utf-8")
    settings = instruct.InstructSettings(base=trained / "lstm", file=tmp_path / "dialogues.jsonl", held_out=0.2)
    with pytest.raises(UserError, match=r"no linear layer.*train=all"):
        instruct.run(settings, tmp_path)


def test_an_unknown_family_and_another_one_than_the_checkpoint_s(settings, trained, tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'lstm'"):
        PretrainSettings(corpus=Path("c"), tokenizer=Path("t"), family="lstn")
    with pytest.raises(UserError, match="is of the family lstm, not gpt"):
        run(settings("gpt", model={}, initial=trained / "lstm"), tmp_path)
    result = run(settings(None, model={}, initial=trained / "lstm", steps=3), tmp_path)
    assert result["family"] == "lstm"
