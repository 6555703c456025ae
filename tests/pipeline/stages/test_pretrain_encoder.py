"""The stage that trains an encoder: it learns, opens elsewhere, goes on after a kill, and says what it cannot."""

import json

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.core.files import read_json, read_json_lines
from malmoi.core.hashing import hash_file
from malmoi.corpus.document import Document
from malmoi.corpus.store import DocumentWriter
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.pipeline.encoder_plan import PretrainEncoderSettings, estimate_encoder
from malmoi.pipeline.stages.classify import ClassifySettings
from malmoi.pipeline.stages.classify import run as classify
from malmoi.pipeline.stages.pretrain_encoder import run
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer
from malmoi.train import trainer

STEPS = 60
TALES = ("The fox said to the bear: who are you? ", "여우가 곰에게 물었습니다. 너는 누구냐? 나는 곰입니다. ")
SHAPE = {"layers": 1, "width": 32, "heads": 2}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([tale * 3 for tale in TALES], TokenizerSettings(vocabulary=300, frame="bert"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory, tokenizer):
    """Settings of a training of a second; fields can be changed."""
    corpus = tmp_path_factory.mktemp("corpus")
    for split, copies in (("train", 12), ("held_out", 4)):
        with DocumentWriter(corpus / f"{split}.parquet") as writer:
            for source, text in zip(("tales", "옛이야기"), TALES, strict=True):
                for number in range(copies):
                    writer.write(Document(text * (5 + number), source, "public domain", f"{number}"))
    saved = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(saved)

    def make(**changes) -> PretrainEncoderSettings:
        fields = {
            "corpus": corpus,
            "tokenizer": saved,
            "steps": STEPS,
            "context": 32,
            "rows": 8,
            "model": SHAPE,
            "objectives": {"masked": 1, "next-sentence": 4},
            "trainer": {"precision": "float32", "checkpoint_every": 7, "validate_every": 20},
        }
        return PretrainEncoderSettings(**(fields | changes))

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    directory = tmp_path_factory.mktemp("encoder")
    return directory, run(settings(), directory)


def test_it_learns_and_says_beside_what(trained):
    directory, result = trained
    losses = [record["loss"] for record in read_json_lines(directory / "metrics.jsonl") if "loss" in record]
    assert sum(losses[-10:]) < sum(losses[:10])
    assert result["steps"] == STEPS
    assert result["tokens"] == STEPS * 8 * 32
    assert read_json(directory / "guesses.json")[0].keys() == {"text", "right", "guesses"}
    assert set(result["controls"]) == {"unigram", "neighbours"}
    assert set(result["objectives"]) == {"masked", "next-sentence"}
    assert result["mixture"].keys() == {"tales", "옛이야기"}
    json.dumps(result)


@torch.no_grad()
def test_transformers_opens_it_with_its_head_of_words(trained, tokenizer):
    theirs = transformers.BertForMaskedLM.from_pretrained(trained[0] / "model")
    ours = load_checkpoint(trained[0])
    assert ours.tokenizer.mask == tokenizer.mask
    ids, segments = (torch.tensor([row]) for row in tokenizer.encode_wrapped("여우가", "곰"))
    wanted = theirs(ids, token_type_ids=segments).logits
    torch.testing.assert_close(ours.model.logits(ids, segments=segments), wanted, rtol=1e-5, atol=1e-5)


def test_a_killed_training_ends_with_the_same_bits(settings, tmp_path, trained, monkeypatch):
    class Killed(Exception):
        pass

    saved = []

    def save_state(*arguments):
        saved.append(trainer_save(*arguments))
        if len(saved) == 3:
            raise Killed

    trainer_save = trainer.save_state
    monkeypatch.setattr(trainer, "save_state", save_state)
    with pytest.raises(Killed):
        run(settings(), tmp_path)
    run(settings(), tmp_path)
    one, other = (path / "model/model.safetensors" for path in (trained[0], tmp_path))
    assert hash_file(one) == hash_file(other)


def test_a_modern_shape_learns_words_that_counting_does_not_tell(settings, tmp_path):
    modern = {"layers": 2, "width": 64, "heads": 2, "positions": "rotary", "activation": "swiglu"}
    result = run(settings(steps=100, rows=16, objectives={"masked": 1}, model=modern), tmp_path)
    assert result["objectives"]["masked"]["accuracy"] > result["controls"]["neighbours"]
    assert "only malmoi opens it" in load_checkpoint(tmp_path).card


def test_the_order_of_halves_is_an_objective_of_its_own(settings, tmp_path):
    result = run(settings(steps=5, objectives={"sentence-order": 1}), tmp_path)
    assert set(result["objectives"]) == {"sentence-order"}


def test_shared_words_are_learned_beside_hidden_ones_and_alone(settings, tmp_path):
    both = run(settings(objectives={"masked": 1, "shared-words": 1}), tmp_path / "both")
    assert set(both["objectives"]) == {"masked", "shared-words"}
    assert set(both["controls"]) == {"unigram", "neighbours"}
    alone = run(settings(steps=5, objectives={"shared-words": 1}), tmp_path / "alone")
    assert set(alone["objectives"]) == {"shared-words"}


def test_minutes_become_steps_once(settings, tmp_path):
    result = run(settings(steps=None, minutes=0.005), tmp_path)
    assert result["steps"] == read_json(tmp_path / "plan.json")["trainer"]["steps"] >= 1
    assert run(settings(steps=None, minutes=100), tmp_path)["steps"] == result["steps"]


def test_it_goes_on_from_an_encoder(settings, tmp_path, trained):
    result = run(settings(initial=trained[0], model={}, steps=30), tmp_path)
    assert result["objectives"]["masked"]["loss"] < trained[1]["objectives"]["masked"]["loss"]


def test_a_classifier_starts_from_it(trained, tmp_path):
    reviews = tmp_path / "reviews.tsv"
    lines = [f"{tale} {number}\t{label}" for label, tale in enumerate(TALES) for number in range(20)]
    reviews.write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    fields = {"file": reviews, "longest": 32, "rows": 8, "epochs": 4, "learning_rate": 0.003, "train": "all"}
    assert classify(ClassifySettings(base=trained[0], **fields), tmp_path / "classifier")["accuracy"] == 1


@pytest.fixture
def checkpoint(tmp_path, tokenizer):
    """Saves a model of a configuration."""

    def save(config, its_tokenizer=tokenizer):
        save_checkpoint(tmp_path / "initial", build_model(config, 0), its_tokenizer, "")
        return tmp_path / "initial"

    return save


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (GPTConfig, "is no encoder: masked, next-sentence want a model that looks both ways"),
        (lambda **shape: EncoderConfig(**shape, masked_head=False), "has no head that guesses words"),
        (lambda **shape: EncoderConfig(**shape | {"context": 16}), "context=32, but .* reads 16 tokens"),
    ],
)
def test_a_model_that_cannot_serve_is_refused(settings, checkpoint, tokenizer, tmp_path, config, sentence):
    initial = checkpoint(config(**SHAPE, vocabulary=tokenizer.size, context=32))
    with pytest.raises(UserError, match=sentence):
        run(settings(initial=initial, model={}), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_going_on_needs_the_same_tokenizer(settings, trained, tmp_path):
    other = train_tokenizer(TALES, TokenizerSettings(vocabulary=270, frame="bert"))
    other.save(tmp_path / "other")
    with pytest.raises(UserError, match="trained with another tokenizer"):
        run(settings(initial=trained[0], model={}, tokenizer=tmp_path / "other"), tmp_path)


def test_a_vocabulary_without_a_mask_is_refused(settings, tmp_path):
    train_tokenizer(TALES, TokenizerSettings(vocabulary=270)).save(tmp_path / "plain")
    with pytest.raises(UserError, match="no token that hides a word"):
        run(settings(tokenizer=tmp_path / "plain"), tmp_path)
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objectives": {}}, "objectives is empty"),
        ({"objectives": {"next-sentence": 1, "sentence-order": 1}}, "take one of them"),
        ({"objectives": {"maskd": 1}}, "masked"),
        ({"rows": 1}, "set rows to 2 or more"),
        ({"rows": 1, "objectives": {"shared-words": 1}}, "set rows to 2 or more"),
        ({"initial": "model"}, "leave out model"),
        ({"masked_share": 0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings(**changes)


def test_a_dry_run_knows_what_the_steps_cost(settings):
    few, many = (estimate_encoder(settings(steps=steps)) for steps in (10, 1000))
    assert 0 < few.seconds < many.seconds
