"""Whether a training in several processes is the training in one: the same losses, gradient norms and weights."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from malmoi.core.files import read_json_lines
from malmoi.core.processes import is_first
from malmoi.data.batch import IGNORED, Batch, MaskedBatch, TextBatch
from malmoi.data.pair_batches import PairBatch
from malmoi.layers.seeded import fill_normal
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.models.model import ModelConfig
from malmoi.models.registry import meta_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.objectives.causal import Causal
from malmoi.objectives.masked import Masked
from malmoi.objectives.objective import Objective
from malmoi.objectives.sequence_to_sequence import SequenceToSequence
from malmoi.parallel.layout import Layout, laid_out
from malmoi.parallel.layout_check import Work, check_layout
from malmoi.parallel.spawn import run_on
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

Family = Literal["gpt", "encoder", "encoder-decoder"]

TOLERANCE = 1e-5
"""Of losses and gradient norms, as a share; sums in float32 in another order differ by less."""

SLOTS, ROWS, LENGTH, VOCABULARY = 4, 4, 16, 131
"""Of a step. The vocabulary is odd, so that no layout divides it evenly."""

_SHAPE: dict[str, Any] = {"vocabulary": VOCABULARY, "context": LENGTH, "width": 32, "layers": 4, "heads": 4}

MODELS: dict[Family, tuple[ModelConfig, Objective]] = {
    "gpt": (GPTConfig(**_SHAPE, key_value_heads=2, tied=True), Causal()),
    "encoder": (EncoderConfig(**_SHAPE, feed_forward=64, masked_head=True), Masked()),
    "encoder-decoder": (
        EncoderDecoderConfig(**_SHAPE, decoder_layers=4, feed_forward=64, start=0),
        SequenceToSequence(0.1),
    ),
}

DEFAULT_LAYOUTS = (
    Layout(data=2),
    Layout(shard=2),
    Layout(tensor=2),
    Layout(pipeline=2),
    Layout(context=2),
    Layout(data=2, tensor=2),
    Layout(data=2, pipeline=2),
    Layout(tensor=2, pipeline=2),
    Layout(shard=2, tensor=2),
)


@dataclass(frozen=True)
class Trace:
    """What a training went through.

    Attributes:
        losses, norms: of every step, the norm that of the gradient before clipping.
        weights: at the end, by name.
    """

    losses: list[float]
    norms: list[float]
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Comparison:
    """How far a layout's training is from that of one process.

    Attributes:
        loss, norm: greatest difference over all steps, as a share.
        weight: norm of the difference of all weights at the end, as a share of their norm.
        parts: the first step whose loss or norm differs by more than the tolerance; None if there is none.
    """

    layout: Layout
    loss: float
    norm: float
    weight: float
    parts: int | None


def verify(
    layout: Layout, family: Family = "gpt", steps: int = 20, optimizer: Literal["muon", "adamw"] = "muon"
) -> Comparison:
    """Train a small model for a few steps in one process, then in the layout's, and compare.

    Raises:
        UserError: the layout does not fit the model.
        ProcessFailed: one of the processes failed.
    """
    check_layout(Work(MODELS[family][0], layout.processes), layout)
    alone = trace(Layout(), family, steps, optimizer)
    together = run_on(layout.processes, trace, layout, family, steps, optimizer)[0]
    return compare(layout, alone, together)


def another_order(family: Family = "gpt", steps: int = 20, optimizer: Literal["muon", "adamw"] = "muon") -> Comparison:
    """The control: one process again, the micro-batches of each step in the opposite order.

    It computes the same, so its differences are those of float32.
    """
    forth, back = (trace(Layout(), family, steps, optimizer, backwards) for backwards in (False, True))
    return compare(Layout(), forth, back)


def compare(layout: Layout, alone: Trace, together: Trace) -> Comparison:
    """How far two trainings are apart."""
    losses, norms = _shares(alone.losses, together.losses), _shares(alone.norms, together.norms)
    apart = [(together.weights[name] - weight).square().sum() for name, weight in alone.weights.items()]
    size = [weight.square().sum() for weight in alone.weights.values()]
    weights = float((torch.stack(apart).sum() / torch.stack(size).sum()).sqrt())
    far = [step for step, pair in enumerate(zip(losses, norms, strict=True), 1) if max(pair) > TOLERANCE]
    return Comparison(layout, max(losses), max(norms), weights, far[0] if far else None)


def trace(
    layout: Layout, family: Family, steps: int, optimizer: Literal["muon", "adamw"], backwards: bool = False
) -> Trace:
    """Train in this process, or as one of the layout's."""
    config, objective = MODELS[family]
    model = meta_model(config)
    settings = TrainerSettings(
        steps=steps,
        slots=SLOTS,
        optimizer=optimizer,
        learning_rate=1e-3,
        matrix_learning_rate=2e-3,
        precision="float32",
        warm_up=2,
        clip=1.0,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as directory, laid_out(layout):
            Trainer(
                model, objective, Texts(family, backwards), settings, Path(directory), first_weights=first_weights
            ).run()
            records = list(read_json_lines(Path(directory, "metrics.jsonl"))) if is_first() else []
    finally:
        torch.set_num_threads(threads)
    trained = [record for record in records if "loss" in record]
    return Trace(
        [record["loss"] for record in trained],
        [record["gradient_norm"] for record in trained],
        {name: parameter.detach() for name, parameter in model.named_parameters()},
    )


def first_weights(model: nn.Module) -> None:
    """Fill a model, also what else begins at zero, so that every gradient counts from the first step on."""
    initialize(model, seed=0)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in ("output", "down"):
            fill_normal(module.weight, 0.05, 0, f"{name}.weight")


class Texts:
    """Random tokens, in every micro-batch another number of them to be learned."""

    def __init__(self, family: Family, backwards: bool = False) -> None:
        self._family, self._backwards = family, backwards

    def batch(self, step: int, slot: int) -> Batch:
        """See `BatchSource.batch`."""
        slot = SLOTS - 1 - slot if self._backwards else slot
        generator = torch.Generator().manual_seed(1_000 * (step + 1) + slot)
        tokens = torch.randint(1, VOCABULARY, (ROWS, LENGTH), generator=generator)
        targets = torch.randint(1, VOCABULARY, (ROWS, LENGTH), generator=generator)
        ignored = torch.rand(targets.shape, generator=generator) < 0.2 * slot
        lengths = torch.randint(LENGTH // 2, LENGTH + 1, (ROWS,), generator=generator)
        if self._family == "gpt":
            return TextBatch(tokens, targets.masked_fill(ignored, IGNORED))
        outside = torch.arange(LENGTH) >= lengths[:, None]
        targets = targets.masked_fill(ignored | outside, IGNORED)
        if self._family == "encoder":
            return MaskedBatch(tokens, lengths, targets)
        return PairBatch(tokens, lengths, tokens.roll(1, 1), targets)

    def validation(self) -> Iterator[Batch]:
        """See `BatchSource.validation`."""
        return iter([self.batch(-1, slot) for slot in range(3)])


def _shares(one: list[float], other: list[float]) -> list[float]:
    return [abs(a - b) / max(abs(a), 1e-12) for a, b in zip(one, other, strict=True)]
