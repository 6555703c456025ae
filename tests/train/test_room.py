"""A training that would not fit is refused before it begins, in every process, whatever is trained."""

import tempfile
from pathlib import Path

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.core.processes import is_first
from malmoi.data.batch import LabelledBatch
from malmoi.data.images import ImageBatch
from malmoi.models.classifier import TextForm, new_classifier
from malmoi.models.convolution import ConvolutionConfig
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.lstm import LSTMConfig
from malmoi.models.model import ModelConfig
from malmoi.models.registry import build_model, meta_model
from malmoi.models.state_space import StateSpaceConfig
from malmoi.objectives.causal import Causal
from malmoi.objectives.classification import Classification
from malmoi.objectives.image_class import ImageClass
from malmoi.parallel.layout import Layout, laid_out
from malmoi.parallel.memory import USABLE
from malmoi.parallel.spawn import run_on
from malmoi.pipeline.verify_parallel import MODELS, VOCABULARY, Texts, first_weights
from malmoi.train import room
from malmoi.train.settings import TrainerSettings
from malmoi.train.shared_training import SharedTraining
from malmoi.train.trainer import Trainer

SHAPE = {"vocabulary": VOCABULARY, "context": 16, "width": 32, "layers": 4}
CONFIGS: dict[str, ModelConfig] = {
    **{name: config for name, (config, _) in MODELS.items()},
    "lstm": LSTMConfig(**SHAPE),
    "convolution": ConvolutionConfig(**SHAPE),
    "state-space": StateSpaceConfig(**SHAPE),
    "classifier": EncoderConfig(**SHAPE, heads=4, feed_forward=64),
}
SETTINGS = TrainerSettings(steps=1, slots=4, optimizer="adamw", precision="float32")


class Labelled(Texts):
    """Texts with a class each."""

    def batch(self, step, slot):
        tokens = super().batch(step, slot).tokens
        return LabelledBatch(tokens, torch.full((len(tokens),), tokens.shape[1]), tokens[:, 0] % 2)


def parts_of(family):
    """Model, objective and texts."""
    config = CONFIGS[family]
    if family == "classifier":
        model = new_classifier(build_model(config, 0), ["아니오", "예"], 0, TextForm())
        return model, Classification(), Labelled("gpt")
    objective = MODELS[family][1] if family in MODELS else Causal()
    return meta_model(config), objective, Texts(family if family in MODELS else "gpt")


def estimated(family, layout, settings=SETTINGS):
    model, objective, texts = parts_of(family)
    training = SharedTraining(model, CONFIGS[family], objective, texts.batch(0, 0), settings, "float32")
    return training.fullest(layout).peak


def tried(families, layouts, memories):
    """What is said to each family's training in each layout, where the second process has so much memory."""
    torch.set_num_threads(1)
    said = {}
    for family, memory in zip(families, memories, strict=True):
        for layout in layouts:
            room.own_memory = lambda memory=memory: memory if not is_first() else 1 << 50
            model, objective, texts = parts_of(family)
            begin = first_weights if next(model.parameters()).is_meta else None
            with laid_out(layout), tempfile.TemporaryDirectory() as directory:
                try:
                    Trainer(model, objective, texts, SETTINGS, Path(directory), first_weights=begin).run()
                    said[family, str(layout)] = ""
                except UserError as error:
                    said[family, str(layout)] = str(error)
    return said


def test_every_family_is_refused_in_every_process_and_trains_in_the_layout_that_is_named():
    copies, shards = Layout(data=2), Layout(shard=2)
    memories = [int((estimated(family, copies) + estimated(family, shards)) / 2 / USABLE) + 1 for family in CONFIGS]
    first, other = run_on(2, tried, list(CONFIGS), [copies, shards], memories)
    assert first == other
    for family in CONFIGS:
        assert "data 2 needs" in first[family, "data 2"]
        assert "The nearest that fits: shard 2." in first[family, "data 2"]
        assert first[family, "shard 2"] == ""


@pytest.fixture
def alone(monkeypatch):
    """Sets the memory of the only process; what others would say is what it says."""
    monkeypatch.setattr(room, "of_the_least", lambda number: number)
    return lambda gigabytes: monkeypatch.setattr(room, "own_memory", lambda: int(gigabytes * 1e9))


def check(layout, settings=SETTINGS, family="gpt"):
    room.check_room(*parts_of(family), settings, layout)


def test_where_nothing_fits_it_says_what_else_to_do(alone):
    alone(0.0001)
    with pytest.raises(UserError, match="trainer.recompute=blocks"):
        check(Layout(shard=2))


def test_layouts_that_would_want_more_micro_batches_are_passed_over(alone):
    alone(0.0001)
    with pytest.raises(UserError, match="Take more processes"):
        check(Layout(data=2), SETTINGS.model_copy(update={"slots": 1}))


def test_a_micro_batch_that_cannot_be_dealt_is_said_first(alone):
    alone(0.0001)
    with pytest.raises(UserError, match="cannot be dealt to 8 processes"):
        check(Layout(data=8), SETTINGS.model_copy(update={"slots": 1}))


def test_a_model_of_no_family_is_told_of_shards(alone):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(400, 2_000), torch.nn.Linear(2_000, 2))
    alone(0.015)
    with pytest.raises(UserError, match="The nearest that fits: shard 2"):
        room.check_room(model, ImageClass(0.0), Images(), SETTINGS, Layout(data=2))


def test_what_cannot_be_run_without_numbers_passes_and_says_so(alone, monkeypatch):
    said = []
    monkeypatch.setattr(room.console, "print", said.append)
    alone(0)
    room.check_room(Counting(), ImageClass(0.0), Images(), SETTINGS, Layout(data=2))
    assert "cannot be told beforehand" in said[0]


class Counting(torch.nn.Linear):
    """Looks at what it computes."""

    def __init__(self):
        super().__init__(400, 2)

    def forward(self, images):
        scores = super().forward(images.flatten(1))
        return scores[scores > 0].view(-1, 1)


class Images:
    """Grey images of noise."""

    def batch(self, step, slot):
        return ImageBatch(torch.rand(4, 1, 20, 20), torch.tensor([0, 1, 1, 0]))


def test_a_model_that_was_loaded_stays_as_it_is(alone):
    alone(1)
    model, objective, texts = parts_of("classifier")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    state = torch.get_rng_state()
    room.check_room(model, objective, texts, SETTINGS, Layout(data=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
