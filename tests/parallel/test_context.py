"""Rows divided among processes: the same losses and gradients for every kind of attention, and what is refused."""

import contextlib

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED, LabelledBatch, MaskedBatch, TextBatch
from malmoi.data.pair_batches import PairBatch
from malmoi.models.classifier import TextForm, new_classifier
from malmoi.models.convolution import ConvolutionConfig
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model, meta_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.objectives.causal import Causal
from malmoi.objectives.classification import Classification
from malmoi.objectives.joint import Joint, Part
from malmoi.objectives.masked import Masked
from malmoi.objectives.regression import Regression
from malmoi.objectives.sequence_to_sequence import SequenceToSequence
from malmoi.parallel.begin import execution
from malmoi.parallel.context import ContextPart, RowParts
from malmoi.parallel.execution import unchanged
from malmoi.parallel.layout import Layout, laid_out
from malmoi.parallel.spawn import run_on
from malmoi.pipeline.verify_parallel import first_weights, verify
from malmoi.train.settings import TrainerSettings
from malmoi.train.shared_training import SharedTraining
from malmoi.train.weighing import Alive

SHAPE = {"vocabulary": 31, "context": 24, "width": 16, "layers": 2, "heads": 2}
CONFIGS = {
    "grouped heads": GPTConfig(**SHAPE, key_value_heads=1),
    "learned positions and bigrams": GPTConfig(**SHAPE, positions="learned", bigram_buckets=64),
    "a window and documents": GPTConfig(**SHAPE, attention=["window(5)", "documents"], separator=3),
    "encoder": EncoderConfig(**SHAPE),
    "rotary encoder with windows": EncoderConfig(
        **SHAPE, positions="rotary", attention=["window(5) | global(0)", "blocks(6)"]
    ),
    "encoder of documents": EncoderConfig(**SHAPE, attention=["documents"]),
    "classifier": EncoderConfig(**SHAPE, pooling="concat"),
    "words and pairs": EncoderConfig(**SHAPE, attention=["documents"]),
    "translator": EncoderDecoderConfig(**SHAPE, start=0),
    "relative positions": EncoderDecoderConfig(**SHAPE, start=0, positions="relative", norm="rms", norm_first=True),
}
SETTINGS = TrainerSettings(steps=1, optimizer="adamw", precision="float32")


def task(name):
    """Objective and a batch whose lengths are odd and whose rows are padded."""
    config = CONFIGS[name]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 31, (3, 19), generator=generator)
    lengths = torch.tensor([19, 12, 4])
    targets = tokens.roll(-1, 1).masked_fill(torch.arange(19) >= lengths[:, None], IGNORED)
    if isinstance(config, GPTConfig):
        return Causal(), TextBatch(tokens, targets)
    labels = torch.tensor([1, IGNORED, 0])
    documents = torch.arange(19).expand(3, -1) // 7
    if name == "classifier":
        return Classification(), LabelledBatch(tokens, lengths, labels)
    if name == "words and pairs":
        both = {"words": Part(Masked()), "pairs": Part(Classification(), 4)}
        return Joint(both), MaskedBatch(tokens, lengths, targets, labels=labels, documents=documents)
    if isinstance(config, EncoderConfig):
        return Masked(), MaskedBatch(tokens, lengths, targets, documents=documents)
    return SequenceToSequence(0.1), PairBatch(tokens[:, :13], lengths.clamp(max=13), tokens, targets)


def model_of(name):
    """A model, every layer of which makes a difference."""
    model = build_model(CONFIGS[name], seed=0)
    if name in ("classifier", "words and pairs"):
        model = new_classifier(model, ["아니오", "예"], 0, TextForm())
    first_weights(model)
    return model


def steps(layout, names):
    """Loss and gradients of every model by its name."""
    torch.set_num_threads(1)
    found = {}
    for name in names:
        model = model_of(name)
        objective, batch = task(name)
        with laid_out(layout):
            run = execution(model, objective, layout, slots=1)
            sums = run.backward(run.shares(1), lambda _share, batch=batch: batch, unchanged, 1.0)
        found[name] = sums.total, {key: one.grad for key, one in model.named_parameters() if one.grad is not None}
    return found


def test_losses_and_gradients_are_those_of_one_process():
    alone, (together, _) = steps(Layout(), CONFIGS), run_on(2, steps, Layout(context=2), list(CONFIGS))
    for name, (loss, gradients) in alone.items():
        assert together[name][0] == pytest.approx(loss, rel=1e-6), name
        for key, gradient in gradients.items():
            torch.testing.assert_close(together[name][1][key], gradient, rtol=1e-4, atol=1e-5, msg=f"{name}: {key}")


def test_a_pipeline_passes_parts_on():
    assert verify(Layout(context=2, pipeline=2), "gpt", steps=2).parts is None


def written(layout):
    """What a model writes between two steps of its training."""
    model = model_of("grouped heads")
    objective, batch = task("grouped heads")
    with laid_out(layout):
        run = execution(model, objective, layout, slots=1)
        run.backward(run.shares(1), lambda _share: batch, unchanged, 1.0)
        cache = model.cache(3, 24)
        with torch.no_grad():
            return torch.cat([model(batch.tokens[:, :7], cache=cache), model(batch.tokens[:, 7:11], cache=cache)], 1)


def test_samples_between_steps_are_of_whole_rows():
    for sample in run_on(2, written, Layout(context=2)):
        assert torch.equal(sample, written(Layout()))


def kept(layout, names):
    """Bytes that a micro-batch of every model keeps for the backward pass in this process."""
    torch.set_num_threads(1)
    found = []

    @contextlib.contextmanager
    def counted():
        with alive:
            yield
        found.append(alive.bytes - parameters)

    for name in names:
        model = model_of(name)
        objective, batch = task(name)
        alive = Alive()
        for parameter in model.parameters():
            alive.meet(parameter)
        parameters = alive.bytes
        with laid_out(layout):
            run = execution(model, objective, layout, slots=1)
            run.backward(run.shares(1), lambda _share, batch=batch: batch, counted, 1.0)
    return found


def test_the_memory_of_a_part_is_known_beforehand():
    layout, names = Layout(context=2), ["grouped heads", "encoder", "words and pairs", "translator"]
    fullest = [max(pair) for pair in zip(*run_on(2, kept, layout, names), strict=True)]
    for name, counted in zip(names, fullest, strict=True):
        training = SharedTraining(model_of(name), CONFIGS[name], *task(name), SETTINGS, "float32")
        assert training.fullest(layout).activations == pytest.approx(counted, rel=0.02), name


@pytest.mark.parametrize(("config", "objective", "words"), [
    (EncoderConfig(**SHAPE), Regression(), "with targets or classes"),
    (EncoderConfig(**SHAPE, attention=["window(5) | global(0)"], global_projections=True), Masked(), "blocks.0.attention looks"),
    (GPTConfig(**SHAPE, reversible=True), Causal(), "The rows of a GPT cannot be divided"),
    (GPTConfig(**SHAPE, short_convolution=3), Causal(), "blocks.0.attention_convolution looks"),
    (ConvolutionConfig(vocabulary=31, context=24, width=16, layers=2), Causal(), "The rows of a Convolution"),
])  # fmt: skip
def test_what_depends_on_more_than_keys_and_values_is_refused(config, objective, words):
    with pytest.raises(UserError, match=words):
        ContextPart(meta_model(config), objective, RowParts.alone(2, 1))
