"""How fast a model trains here, which share of the machine that is, and where the rest of the time goes."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from malmoi.core.accelerator import pick_device, synchronize
from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.data.mixture import Mixture
from malmoi.data.store import token_dtype
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.language_model import LanguageModelConfig
from malmoi.models.registry import count_parameters
from malmoi.objectives.causal import Causal
from malmoi.parallel.execution import Execution
from malmoi.pipeline.costs import multiplied
from malmoi.pipeline.pretraining.model import given_config
from malmoi.pipeline.pretraining.plan import batch_shape, default_optimizer
from malmoi.pipeline.pretraining.trial_step import TrialStep
from malmoi.pipeline.recipe import Recipe, load_recipe
from malmoi.pipeline.runner import done_stages
from malmoi.pipeline.stages.tokenizer import TokenizerStageSettings
from malmoi.tokenizers.load import load_tokenizer
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.compilation import Compilation
from malmoi.train.precision import Precision, autocast, choose_precision, product_speed
from malmoi.train.recompute import recomputing
from malmoi.train.settings import TrainerSettings

PARTS = {"attention": "attention", "feed_forward": "feed-forward"}
"""Modules of a block that are timed, and what they are called."""

BLOCK = re.compile(r"(?:.*\.)?blocks\.\d+")
"""Path of a block, which is timed whole where it is compiled: nobody looks into compiled code."""

Seconds = dict[str, float]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Speed:
    """What a training step takes here, medians of some steps.

    Attributes:
        parameters: their number.
        tokens: in a step.
        seconds: of a step.
        parts: seconds of its parts; with "rest" they add up to `seconds`.
        operations: floating-point operations of a step, see `step_operations`.
        peak: operations a second of a plain matrix product in the same precision, measured just before.
    """

    parameters: int
    tokens: int
    seconds: float
    parts: Seconds
    operations: float
    peak: float
    precision: Precision

    @property
    def share(self) -> float:
        """Of the peak."""
        return self.operations / self.seconds / self.peak


def step_operations(config: LanguageModelConfig, rows: int, context: int) -> float:
    """6 a parameter and token, and 6 a layer, unit of width, token and token that it looks at (half of the context).

    Chowdhery and others 2022, "PaLM", arXiv:2204.02311, appendix B, which counts keys that a causal model does not look
    at too. An embedding table multiplies nothing.
    """
    attended = 6 * config.layers * config.width * context if hasattr(config, "heads") else 0
    return float(rows * context * (6 * multiplied(config) + attended))


@dataclass(frozen=True)
class Shape:
    """What is timed: a model, its micro-batches of so many rows of `context` tokens, and how it is trained."""

    config: LanguageModelConfig
    context: int
    rows: int
    precision: Precision
    trainer: TrainerSettings


def twelve_million() -> Shape:
    """6 layers of width 384, 8 rows of 256 tokens, a vocabulary of 4,096."""
    config = GPTConfig(vocabulary=4_096, context=256, layers=6, width=384, heads=6)
    return Shape(config, 256, 8, choose_precision(pick_device()), TrainerSettings(steps=1))


def shape_of(name: str, overrides: list[str]) -> Shape:
    """What the first pretraining of a recipe trains; a vocabulary that cannot be known yet is assumed, which is said.

    Raises:
        UserError: there is none, or the recipe leaves its size to the dial.
    """
    recipe = load_recipe(name, overrides)
    step = next((step for step in recipe.steps if step.kind == "pretrain"), None)
    if step is None:
        raise UserError(f"The recipe {recipe.name} pretrains nothing.", "Name one that does, such as shakespeare.")
    settings: Any = step.settings
    vocabulary = _vocabulary(recipe, settings.tokenizer)
    config = given_config(settings, vocabulary)
    if config is None:
        raise UserError(
            f"The recipe {recipe.name} leaves its size to the minutes.",
            f"Say one: {step.name}.model.layers=6 {step.name}.model.width=384 {step.name}.model.heads=6.",
        )
    if vocabulary is None:
        console.print(
            f"The tokenizer of {recipe.name} is not made yet: a vocabulary of {config.vocabulary:,} is assumed.",
            markup=False,
        )
    rows, slots = batch_shape(settings, settings.context, config.vocabulary)
    chosen = default_optimizer(config, rows * slots * settings.context, settings) | settings.trainer
    trainer = TrainerSettings(**(chosen | {"steps": 1, "slots": slots}))
    precision = choose_precision(pick_device()) if trainer.precision == "auto" else trainer.precision
    return Shape(config, settings.context, rows, precision, trainer)


def _vocabulary(recipe: Recipe, tokenizer: Path) -> int | None:
    """The size of a recipe's tokenizer, as it was made in the recipe's own run or is to be; None if nobody can tell."""
    place = done_stages(recipe, Path("runs") / recipe.name).get(str(tokenizer), tokenizer)
    if (place / "tokenizer.json").is_file():
        return load_tokenizer(place).size
    asked = next((step.settings for step in recipe.steps if step.name == str(tokenizer)), None)
    if not isinstance(asked, TokenizerStageSettings) or asked.source != "train" or asked.kind == "character":
        return None
    return asked.vocabulary if "vocabulary" in asked.model_fields_set and asked.vocabulary else None


def measure_speed(shape: Shape, rounds: int = 5) -> Speed:
    """Time steps and their parts; those in which something warms up are left out.

    Blocks run compiled only if that is always wanted: "auto" decides it within a long training.
    """
    keep_freed_memory()
    config, context, rows, slots = shape.config, shape.context, shape.rows, shape.trainer.slots
    peak = product_speed(pick_device(), shape.precision)
    step = TrialStep(config, context, rows, shape.trainer)
    compiled = shape.trainer.compile == "always"
    warming = 2 if compiled else 1  # "always" compiles in the second step
    ids = np.random.default_rng(0).integers(config.vocabulary, size=100_000).astype(token_dtype(config.vocabulary))
    source = Mixture({"random": ids}, {}, {}, context, rows, slots, 0)
    taken: list[Seconds] = []
    now = partial(_now, step.device)
    with (
        tempfile.TemporaryDirectory() as directory,
        Compilation("always" if compiled else "never", Path(directory), 0, Execution(step.model, Causal())) as blocks,
        recomputing(step.model, shape.trainer.recompute),
        progress("timing steps", rounds + warming) as advance,
        _timed_parts(step.model, now, compiled) as parts,
    ):
        for number in range(rounds + warming):
            parts.clear()
            began = now()
            for slot in range(slots):
                beginning = now()
                source.batch(number, slot)
                parts["data"] += now() - beginning
                _micro_batch(step, parts, now)
            updating = now()
            step.update()
            parts["optimizer"] = now() - updating
            taken.append({**parts, "whole": now() - began})
            blocks.after_step(number + 1, 0.0, 1, partial(autocast, step.device, shape.precision))
            advance()
    medians = {name: statistics.median(one[name] for one in taken[warming:]) for name in taken[0]}
    seconds = medians.pop("whole")
    medians["rest"] = max(0.0, seconds - sum(medians.values()))
    operations = slots * step_operations(config, rows, context)
    return Speed(count_parameters(config), slots * rows * context, seconds, medians, operations, peak, shape.precision)


def _micro_batch(step: TrialStep, parts: Seconds, now: Clock) -> None:
    """Forward and backward; what is before and after the model itself is the head and the loss."""
    marks: dict[str, float] = {}

    def hidden_made(module: nn.Module, arguments: Any, hidden: torch.Tensor) -> None:
        marks["hidden"] = now()
        hidden.register_hook(lambda gradient: marks.update(gradient=now()))  # type: ignore[no-untyped-call]

    hook = step.model.register_forward_hook(hidden_made)
    try:
        loss = step.loss()
    finally:
        hook.remove()
    loss.backward()  # type: ignore[no-untyped-call]
    parts["head and loss"] += marks["gradient"] - marks["hidden"]


@contextmanager
def _timed_parts(model: nn.Module, now: Clock, whole_blocks: bool) -> Iterator[Seconds]:
    """Seconds in the parts of blocks, forward and backward, added up as they pass.

    What is computed again within the backward pass of another part counts for itself, and not for that one.
    """
    seconds: Seconds = defaultdict(float)
    inside: list[str] = []
    since = 0.0

    def count() -> None:
        nonlocal since
        moment = now()
        if inside:
            seconds[inside[-1]] += moment - since
        since = moment

    def begin(*_: Any, name: str) -> None:
        count()
        inside.append(name)

    def end(*_: Any) -> None:
        count()
        inside.pop()

    hooks = []
    for path, module in model.named_modules():
        name = _part(path, whole_blocks)
        if name:
            beginning = partial(begin, name=name)
            hooks += [module.register_forward_pre_hook(beginning), module.register_full_backward_pre_hook(beginning)]
            hooks += [module.register_forward_hook(end, always_call=True), module.register_full_backward_hook(end)]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def _part(path: str, whole_blocks: bool) -> str | None:
    """What the module at a path is called where it is timed."""
    if whole_blocks:
        return "blocks" if BLOCK.fullmatch(path) else None
    return PARTS.get(path.rpartition(".")[2]) if "blocks." in path else None


def _now(device: torch.device) -> float:
    """Seconds of a clock, when the device has done what it was asked."""
    synchronize(device)
    return time.perf_counter()
