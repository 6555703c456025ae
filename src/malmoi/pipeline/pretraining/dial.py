"""One dial: from minutes to a model, a batch and a number of steps, by measuring this machine."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from malmoi.core.console import progress
from malmoi.models.language_model import LanguageModelConfig
from malmoi.models.registry import count_parameters
from malmoi.pipeline.pretraining.trial_step import TrialStep
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.pace import TIME_SHARE
from malmoi.train.settings import TrainerSettings

SIZES = ((2, 128), (3, 192), (4, 256), (5, 320), (6, 384), (8, 512), (12, 768), (16, 1024), (24, 1536))
"""Layers and width of the candidates."""

FEWEST_STEPS = 60
"""Of a training, however small the text."""

TRIAL_SECONDS = 1.2
"""How long one candidate is measured."""

REPEATS = 3.0
"""How many times as much as one reading all repeated readings of a text are worth together, at most. A small model of
1.3M tokens learned nothing more after the fifth reading, and one of twice its size learned more in four than it in
eight (docs/lab/base-model.md)."""


@dataclass(frozen=True)
class Trial:
    """A candidate, measured.

    Attributes:
        config: its shape.
        parameters: their number.
        tokens_per_second: measured here, forward, backward and update.
        tokens: what fits into the time, and is worth reading.
        epochs: how often the text would be read.
        predicted_loss: by the scaling law, good for comparing candidates and for nothing else.
    """

    config: LanguageModelConfig
    parameters: int
    tokens_per_second: float
    tokens: int
    epochs: float
    predicted_loss: float


def choose_size(
    shape: Callable[[int, int], LanguageModelConfig],
    context: int,
    rows: int,
    trainer: Callable[[LanguageModelConfig], TrainerSettings],
    seconds: float,
    text_tokens: int,
    most_epochs: float | None,
) -> list[Trial]:
    """Candidates in order of size, up to the first that is clearly worse than the one before.

    The one with the lowest `predicted_loss` is the choice.

    Args:
        shape: the configuration of a number of layers and a width, or of those that the settings give.
        context: tokens in a row.
        trainer: how a model of a configuration will be trained, but for the number of steps.
        text_tokens: size of the text, which may be read `most_epochs` times, or as often as pays.
    """
    keep_freed_memory()
    trials: list[Trial] = []
    with progress("measuring this machine", len(SIZES)) as advance:
        for layers, width in SIZES:
            config = shape(layers, width)
            advance(1, f"{layers} x {width}")
            if trials and config == trials[-1].config:
                continue  # the settings say how large
            speed = tokens_per_second(config, context, rows, trainer(config))
            parameters, step = count_parameters(config), trainer(config).slots * rows * context
            most = most_tokens(parameters, text_tokens, step) if most_epochs is None else most_epochs * text_tokens
            tokens = int(min(speed * seconds * TIME_SHARE, most))
            loss = predicted_loss(parameters, tokens, text_tokens)
            trial = Trial(config, parameters, speed, tokens, tokens / max(1, text_tokens), loss)
            trials.append(trial)
            if trial.predicted_loss > 1.03 * min(other.predicted_loss for other in trials):
                break
    return trials


def most_tokens(parameters: int, text_tokens: int, tokens_per_step: int) -> int:
    """How much of a text it pays to read: four times all of it, or three times where a model is large for it.

    Trained to the end of its schedule, a model with four to sixteen times as many parameters as the text has tokens is
    best after three readings, one with as many after four or five (docs/lab/base-model.md).
    """
    readings = 4 if parameters < 3 * text_tokens else 3
    return max(FEWEST_STEPS * tokens_per_step, readings * text_tokens)


def predicted_loss(parameters: int, tokens: float, text_tokens: int) -> float:
    """Loss for a number of parameters, of tokens seen, and of different tokens among them.

    The law and its constants: Hoffmann and others 2022 (2203.15556), fit 3; the form of what repeated tokens are worth:
    Muennighoff and others 2023 (2305.16264), whose constant is 15.4 instead of `REPEATS`.
    """
    different = min(tokens, text_tokens)
    repeats = max(0.0, tokens / max(1, different) - 1)
    worth = different * (1 + REPEATS * (1 - math.exp(-repeats / REPEATS)))
    return float(1.69 + 406.4 / parameters**0.34 + 410.7 / max(1.0, worth) ** 0.28)


def tokens_per_second(config: LanguageModelConfig, context: int, rows: int, trainer: TrainerSettings) -> float:
    """Training speed, measured on random tokens: the median of a few micro-batches after a first one, and an update."""
    step, slots = TrialStep(config, context, rows, trainer), trainer.slots
    times: list[tuple[float, float]] = []
    started = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - started < TRIAL_SECONDS and len(times) < 30):
        times.append((_seconds(step.micro_batch), _seconds(step.update)))
        if time.perf_counter() - started > 4 * TRIAL_SECONDS:
            break
    products, updates = (statistics.median(column) for column in zip(*(times[1:] or times), strict=True))
    return float(slots * rows * context / (slots * products + updates))


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
