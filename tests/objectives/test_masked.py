"""Masked words, classes, and both at once are sums over what counts, however a step is divided."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.data.batch import IGNORED, LabelledBatch, MaskedBatch
from malmoi.models.classifier import TextForm, new_classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.objectives.classification import Classification
from malmoi.objectives.joint import Joint, Part
from malmoi.objectives.masked import Masked
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

SHAPE = {"vocabulary": 50, "context": 16, "width": 32, "layers": 2, "heads": 4}
JOINT = Joint({"masked": Part(Masked()), "next-sentence": Part(Classification(), 5)})


def make_batch(rows: int, seed: int = 0) -> MaskedBatch:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(50, (rows, 12), generator=generator)
    hidden = torch.rand(rows, 12, generator=generator) < 0.3
    labels = torch.randint(2, (rows,), generator=generator)
    segments = (torch.arange(12) > 5).long().expand(rows, -1)
    return MaskedBatch(tokens, torch.full((rows,), 12), tokens.masked_fill(~hidden, IGNORED), segments, labels)


def part(batch: MaskedBatch, rows: slice) -> MaskedBatch:
    return MaskedBatch(**{name: value if value is None else value[rows] for name, value in vars(batch).items()})


@pytest.fixture
def model(shake):
    return shake(new_classifier(build_model(EncoderConfig(**SHAPE), 0), ["no", "yes"], 0, TextForm()))


def test_hidden_words_cost_their_cross_entropy(model):
    batch = make_batch(4)
    loss = Masked().loss(model, batch)
    logits = model.body.logits(batch.tokens, batch.lengths, batch.segments)
    wanted = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum")
    torch.testing.assert_close(loss.total, wanted)
    assert loss.count == (batch.targets != IGNORED).sum()
    assert loss.metrics["correct"] == (logits.argmax(-1) == batch.targets).sum()


def test_a_batch_without_hidden_words_costs_nothing(model):
    batch = make_batch(2)
    nothing = MaskedBatch(batch.tokens, batch.lengths, torch.full_like(batch.targets, IGNORED))
    loss = Masked().loss(model, nothing)
    loss.total.backward()
    assert (loss.total.item(), int(loss.count)) == (0, 0)


def test_several_at_once_are_their_weighted_sum(model):
    batch = make_batch(4)
    both, words = JOINT.loss(model, batch), Masked().loss(model, batch)
    pairs = Classification().loss(model, LabelledBatch(batch.tokens, batch.lengths, batch.labels, batch.segments))
    torch.testing.assert_close(both.total, words.total + 5 * pairs.total)
    assert both.count == words.count + 5 * pairs.count
    assert both.metrics["masked_items"] == words.count
    assert both.metrics["next-sentence_correct"] == pairs.metrics["correct"]


def test_unequal_micro_batches_have_the_gradient_of_the_whole_step(model):
    batch = make_batch(7)

    def gradients(batches) -> list[torch.Tensor]:
        model.zero_grad()
        losses = [JOINT.loss(model, one) for one in batches]
        for loss in losses:
            loss.total.backward()
        count = sum(int(loss.count) for loss in losses)
        return [parameter.grad / count for parameter in model.parameters()]

    whole = gradients([batch])
    for cut in (1, 5):
        for one, other in zip(whole, gradients([part(batch, slice(cut)), part(batch, slice(cut, 7))]), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class TextAndTask:
    """Masked words and a supervised task in turn: a step has one micro-batch of each."""

    def batch(self, step, slot):
        batch = make_batch(8, seed=step % 4)
        if slot == 0:
            return MaskedBatch(batch.tokens, batch.lengths, batch.targets)
        return LabelledBatch(batch.tokens, batch.lengths, (batch.tokens[:, 3] > 25).long())

    def validation(self):
        yield self.batch(0, 0)
        yield self.batch(0, 1)


def test_a_supervised_task_is_learned_together_with_text(tmp_path):
    model = new_classifier(build_model(EncoderConfig(**SHAPE), 0), ["작다", "크다"], 0, TextForm())
    objective = Joint({"masked": Part(Masked()), "class": Part(Classification(), 4)})
    settings = TrainerSettings(steps=120, slots=2, learning_rate=3e-3, precision="float32", warm_up=10)
    trainer = Trainer(model, objective, TextAndTask(), settings, tmp_path)
    before = trainer.validate()
    trainer.run()
    after = trainer.validate()
    assert after["validation_class_correct"] == after["validation_class_items"]
    assert after["validation_masked_loss"] < 0.7 * before["validation_masked_loss"]
