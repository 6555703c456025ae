"""How fast a model trains here, which share of the machine that is, and where the rest of the time goes."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from malmoi.core.accelerator import pick_device, synchronize
from malmoi.core.console import progress
from malmoi.core.errors import UserError
from malmoi.data.mixture import Mixture
from malmoi.data.store import token_dtype
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.language_model import LanguageModelConfig
from malmoi.pipeline.costs import multiplied
from malmoi.pipeline.plan import ASSUMED_VOCABULARY, batch_shape, default_optimizer, given_config
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.trial_step import TrialStep
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.optimizers import OptimizerSettings
from malmoi.train.precision import Precision, choose_precision, product_speed

PARTS = {"attention": "attention", "feed_forward": "feed-forward"}
"""Modules of a block that are timed, and what they are called."""

Seconds = dict[str, float]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Speed:
    """What a training step takes here, medians of some steps.

    Attributes:
        parameters: that a token is multiplied with.
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
    """What is timed: a model, its rows of `context` tokens, and how it is updated."""

    config: LanguageModelConfig
    context: int
    rows: int
    precision: Precision
    optimizer: OptimizerSettings


def twelve_million() -> Shape:
    """6 layers of width 384, 8 rows of 256 tokens, a vocabulary of 4,096."""
    config = GPTConfig(vocabulary=ASSUMED_VOCABULARY, context=256, layers=6, width=384, heads=6)
    return Shape(config, 256, 8, choose_precision(pick_device()), OptimizerSettings())


def shape_of(name: str, overrides: list[str]) -> Shape:
    """What the first pretraining of a recipe trains, in a micro-batch.

    Raises:
        UserError: there is none, or the recipe leaves its size to the dial.
    """
    recipe = load_recipe(name, overrides)
    step = next((step for step in recipe.steps if step.kind == "pretrain"), None)
    if step is None:
        raise UserError(f"The recipe {recipe.name} pretrains nothing.", "Name one that does, such as shakespeare.")
    settings: Any = step.settings
    tokenizers: list[Any] = [other.settings for other in recipe.steps if other.kind == "tokenizer"]
    vocabulary = tokenizers[0].vocabulary if tokenizers and tokenizers[0].vocabulary else ASSUMED_VOCABULARY
    config = given_config(settings, vocabulary)
    if config is None:
        raise UserError(
            f"The recipe {recipe.name} leaves its size to the minutes.",
            f"Say one: {step.name}.model.layers=6 {step.name}.model.width=384 {step.name}.model.heads=6.",
        )
    rows, slots = batch_shape(settings, settings.context, config.vocabulary)
    chosen = {**default_optimizer(config, rows * slots * settings.context, settings), **settings.trainer}
    fields = {name: value for name, value in chosen.items() if name in OptimizerSettings.model_fields}
    precision = settings.trainer.get("precision", "auto")
    precision = choose_precision(pick_device()) if precision == "auto" else precision
    return Shape(config, settings.context, rows, precision, OptimizerSettings(**fields))


def measure_speed(shape: Shape, rounds: int = 5) -> Speed:
    """Time steps and their parts; the first one is left out."""
    keep_freed_memory()
    config, context, rows = shape.config, shape.context, shape.rows
    peak = product_speed(pick_device(), shape.precision)
    step = TrialStep(config, context, rows, shape.precision, shape.optimizer)
    ids = np.random.default_rng(0).integers(config.vocabulary, size=100_000).astype(token_dtype(config.vocabulary))
    source = Mixture({"random": ids}, {}, {}, context, rows, 1, 0)
    taken: list[Seconds] = []
    now = partial(_now, step.device)
    with progress("timing steps", rounds + 1) as advance, _timed_parts(step.model, now) as parts:
        for number in range(rounds + 1):
            parts.clear()
            began = now()
            source.batch(number, 0)
            parts["data"] = now() - began
            _micro_batch(step, parts, now)
            updating = now()
            step.update()
            parts["optimizer"] = now() - updating
            taken.append({**parts, "whole": now() - began})
            advance()
    medians = {name: statistics.median(one[name] for one in taken[1:]) for name in taken[0]}
    seconds = medians.pop("whole")
    medians["rest"] = max(0.0, seconds - sum(medians.values()))
    operations = step_operations(config, rows, context)
    return Speed(multiplied(config), rows * context, seconds, medians, operations, peak, shape.precision)


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
    parts["head and loss"] = marks["gradient"] - marks["hidden"]


@contextmanager
def _timed_parts(model: nn.Module, now: Clock) -> Iterator[Seconds]:
    """Seconds in the parts of blocks, forward and backward, added up as they pass."""
    seconds: Seconds = defaultdict(float)
    hooks = []
    for path, module in model.named_modules():
        name = PARTS.get(path.rpartition(".")[2])
        if name is None or "blocks." not in path:
            continue
        started: dict[str, float] = {}

        def begin(*_: Any, started: dict[str, float] = started) -> None:
            started["at"] = now()

        def end(*_: Any, started: dict[str, float] = started, name: str = name) -> None:
            seconds[name] += now() - started["at"]

        hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
        hooks += [module.register_full_backward_pre_hook(begin), module.register_full_backward_hook(end)]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def _now(device: torch.device) -> float:
    """Seconds of a clock, when the device has done what it was asked."""
    synchronize(device)
    return time.perf_counter()
