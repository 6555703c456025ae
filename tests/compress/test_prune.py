"""Numbers become zero in exact numbers, and stay zero whatever trains the model."""

import pytest
import torch

from malmoi.compress.calibration import Calibration
from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.int8 import Int8
from malmoi.compress.methods.lowrank import LowRank
from malmoi.compress.methods.prune import Prune
from malmoi.compress.methods.structure import Structure
from malmoi.compress.methods.tensor import Tensor
from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.data.batch import TextBatch
from malmoi.data.labelled import EncodedText, collate_labelled
from malmoi.data.rows import Rows
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.layers.low_rank import apply_low_rank
from malmoi.layers.sparse import sparse_layers
from malmoi.models.classifier import Classifier
from malmoi.objectives.causal import Causal
from malmoi.objectives.classification import Classification
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

TOKENS = torch.randint(290, (2, 13), generator=torch.Generator().manual_seed(3))


class Source:
    """The same few tokens at every step."""

    def batch(self, step, slot):
        """See `BatchSource.batch`."""
        return TextBatch(TOKENS[:, :-1], TOKENS[:, 1:])

    def validation(self):
        """See `BatchSource.validation`."""
        yield self.batch(0, 0)


def zeros(model):
    return {name: layer.weight == 0 for name, layer in sparse_layers(model).items()}


@pytest.mark.parametrize("importance", ["inputs", "magnitude"])
def test_every_row_loses_the_same_number(model, calibration, importance):
    Prune(share=0.25, importance=importance).apply(model, calibration)
    assert len(zeros(model)) == 2 * 7
    for zero in zeros(model).values():
        assert (zero.sum(1) == zero.shape[1] // 4).all()


@pytest.mark.parametrize("importance", ["inputs", "magnitude"])
def test_two_of_every_four(model, calibration, importance):
    Prune(pattern="2:4", importance=importance).apply(model, calibration)
    for zero in zeros(model).values():
        assert (zero.view(-1, 4).sum(1) == 2).all()


@pytest.mark.parametrize("importance", ["inputs", "magnitude"])
def test_what_is_least_in_its_row_goes(model, calibration, importance):
    layer = "blocks.0.attention.query"
    worth = model.get_submodule(layer).weight.detach().abs()
    if importance == "inputs":
        worth = worth * calibration.statistics(model, [layer])[layer].norms
    Prune(layers=[layer], importance=importance).apply(model, calibration)
    kept = model.get_submodule(layer).weight != 0
    assert (worth[kept].view(32, 16).amin(1) > worth[~kept].view(32, 16).amax(1)).all()


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_zeros_stay_zero_in_training_and_after_a_kill(model, calibration, tokenizer, tmp_path, optimizer):
    Prune(pattern="2:4").apply(model, calibration)
    save_checkpoint(tmp_path / "model", model, tokenizer, "")
    before = zeros(model)
    for steps in (2, 4):  # the second run goes on from what the first one saved
        loaded = load_checkpoint(tmp_path / "model").language_model
        settings = TrainerSettings(
            steps=steps, optimizer=optimizer, weight_decay=0.1, precision="float32", cool_down=0.0
        )
        Trainer(loaded, Causal(), Source(), settings, tmp_path / "training").run()
        moved = [not torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True)]
        assert all(moved)
        assert all(torch.equal(zero, before[name]) for name, zero in zeros(loaded).items())


def test_zeros_stay_zero_beneath_a_head_of_classes(model, calibration, tokenizer, tmp_path):
    Prune(pattern="2:4").apply(model, calibration)
    save_checkpoint(tmp_path / "model", Classifier(model, ["나쁨", "좋음"]), tokenizer, "")
    loaded = load_checkpoint(tmp_path / "model").headed(Classifier)
    assert len(sparse_layers(loaded.body)) == 2 * 7
    texts = [EncodedText(row, label) for label, row in enumerate(TOKENS)]
    settings = TrainerSettings(steps=2, optimizer="adamw", weight_decay=0.1, precision="float32")
    source = Rows(texts, texts, lambda text: len(text.tokens), collate_labelled, rows=2)
    Trainer(loaded, Classification(), source, settings, tmp_path / "training").run()
    assert all(torch.equal(zero, zeros(model)[name]) for name, zero in zeros(loaded.body).items())


def test_the_checkpoint_is_a_plain_one(model, calibration, tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    Prune().apply(model, calibration)
    save_checkpoint(tmp_path / "model", model, tokenizer, "")
    assert read_json(tmp_path / "model" / "config.json")["model_type"] == "qwen3"
    loaded = load_checkpoint(tmp_path / "model").language_model
    assert torch.equal(loaded.logits(TOKENS), model.logits(TOKENS))
    assert sparse_layers(loaded).keys() == sparse_layers(model).keys()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(theirs(TOKENS).logits, model.logits(TOKENS), rtol=1e-4, atol=1e-4)


def test_zeros_are_zero_in_eight_bits(model, calibration):
    Prune().apply(model, calibration)
    before = zeros(model)
    Int8().apply(model, Calibration())
    for name, zero in before.items():
        assert (model.get_submodule(name).weight[zero] == 0).all()


def test_a_low_rank_difference_that_would_fill_them_is_refused(model, calibration):
    Prune().apply(model, calibration)
    with pytest.raises(UserError, match="pruned.*train=all"):
        apply_low_rank(model)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": ["embedding"]}, "embedding is an embedding"),
        ({"layers": ["blocks.9.*"]}, "no layer 'blocks.9.*'"),
    ],
)
def test_what_cannot_be_pruned_is_refused(model, calibration, settings, words):
    with pytest.raises(UserError, match=words):
        Prune(**settings).apply(model, calibration)


@pytest.mark.parametrize(
    "step", [Prune(pattern="2:4"), Int4(), LowRank(), Tensor(layers=["blocks.0.*.up"]), Structure(feed_forward=0.5)]
)
def test_what_would_fill_the_zeros_is_refused(model, calibration, step):
    Prune().apply(model, calibration)
    with pytest.raises(UserError, match="pruned already"):
        step.apply(model, calibration)


def test_without_text_the_way_out_is_said(model):
    with pytest.raises(UserError, match="no text. Name a corpus"):
        Prune().apply(model, Calibration())
