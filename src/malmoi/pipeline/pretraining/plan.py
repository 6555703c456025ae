"""The plan of a pretraining: what the settings leave open, derived from this machine and this text."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from malmoi.core.accelerator import pick_device
from malmoi.core.config import key_of, parse_settings
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.models.language_model import LanguageModelConfig
from malmoi.models.registry import count_parameters, family_name
from malmoi.pipeline.pretraining.dial import Trial, choose_size, most_tokens, tokens_per_second
from malmoi.pipeline.pretraining.fit import fitting_rows, measured_step
from malmoi.pipeline.pretraining.model import given_config, likely_config, sized_config
from malmoi.pipeline.pretraining.settings import PretrainSettings
from malmoi.train.pace import TIME_SHARE
from malmoi.train.precision import Precision, choose_precision
from malmoi.train.settings import TrainerSettings

TOKENS_PER_STEP = 4_096
"""Default size of a step; Muon wants this much at the widths that fit a laptop."""

LOGITS = 1 << 26
"""Logits of a micro-batch (256 MiB of float32), beyond which gradients are accumulated."""

MORE = 3
"""Times as many steps as were planned that minutes may hold."""

FREE_EPOCHS = 4
"""Text read more often than this is learned by heart (Muennighoff and others 2023): the best weights may not be the
last, and are kept."""


def derive_plan(
    settings: PretrainSettings, vocabulary: int, text_tokens: int, initial: LanguageModelConfig | None
) -> dict[str, Any]:
    """Every number of the training, as it goes into `plan.json`.

    Args:
        text_tokens: size of the text that is trained on.
        initial: shape of the checkpoint to go on from.

    Raises:
        UserError: the model, or the trainer, has no such setting or cannot have such a value; or the steps that are
            asked for read the text more often than it may be.
    """
    if initial is not None and settings.family not in (None, family_name(initial)):
        raise UserError(
            f"{settings.initial} is of the family {family_name(initial)}, not {settings.family}.", "Leave out family."
        )
    precision = settings.trainer.get("precision", "auto")
    if precision == "auto":
        precision = choose_precision(pick_device())
    context = min(settings.context, (initial or likely_config(settings, vocabulary)).context)
    rows, slots = batch_shape(settings, context, vocabulary)
    size = rows * slots * context
    trained = partial(_trained, settings, size, precision)
    config, trials = initial or given_config(settings, vocabulary), list[Trial]()
    if config is None:
        shape, seconds = partial(sized_config, settings, vocabulary), settings.minutes * 60
        how = partial(trained, slots=slots)
        trials = choose_size(shape, context, rows, how, seconds, text_tokens, settings.most_epochs)
        chosen = min(trials, key=lambda trial: trial.predicted_loss)
        config = chosen.config
    if settings.memory is not None:
        measure = measured_step(config, context, trained(config, slots=1))
        fitting = fitting_rows(measure, rows * slots, int(settings.memory * 2**30))
        rows, slots = fitting, rows * slots // fitting
    speed = 0.0
    if trials:
        speed = chosen.tokens_per_second
    elif _timed(settings):
        speed = tokens_per_second(config, context, rows, trained(config, slots=slots))
    most = _most_steps(settings, text_tokens, size, count_parameters(config) if trials else None)
    steps = _steps(settings, speed, size, most)
    trainer = trained(config, slots=slots, **_course(settings, steps, most, size, text_tokens))
    return {
        "minutes": settings.minutes,
        "most_epochs": settings.most_epochs,
        "context": context,
        "rows": rows,
        "tokens_per_step": size,
        "text_tokens": text_tokens,
        "tokens_per_second": round(speed),
        "parameters": count_parameters(config),
        "family": family_name(config),
        "trials": [_trial_facts(trial) for trial in trials],
        "model": config.model_dump(),
        "trainer": trainer.model_dump(),
    }


def keep_steps(path: Path, used: TrainerSettings) -> None:
    """Let a plan say in the end how many steps its minutes really held."""
    write_json(path, read_json(path) | {"trainer": used.model_dump() | {"minutes": None}})


def batch_shape(settings: PretrainSettings, context: int, vocabulary: int) -> tuple[int, int]:
    """Rows in a micro-batch, so that its logits stay small, and micro-batches in a step."""
    slots = settings.trainer.get("slots")
    if settings.rows:
        return settings.rows, slots or 1
    whole = max(1, min(32, TOKENS_PER_STEP // context))
    rows = max(1, min(whole, LOGITS // (context * vocabulary)))
    return rows, slots or math.ceil(whole / rows)


def default_optimizer(config: LanguageModelConfig, tokens_per_step: int, settings: PretrainSettings) -> dict[str, Any]:
    """Muon where making a matrix orthogonal costs less than its gradient, else AdamW.

    Five iterations cost up to 30 x width operations a parameter, a gradient 6 x tokens. The rate of AdamW falls with
    the width (Yang and others 2022, 2203.03466), and is lower where trained weights are to be kept. Embeddings and head
    that are not tied want rates of their own: after 50 steps of 2,048 tokens 2.59 bits a byte instead of 2.87.
    """
    chosen = "muon" if 5 * config.width <= tokens_per_step and not settings.initial else "adamw"
    optimizer = settings.trainer.get("optimizer", chosen)
    if optimizer == "muon":
        rates = {"learning_rate": 0.01, "embedding_learning_rate": 0.1, "head_learning_rate": 0.01}
        return {"optimizer": "muon"} | ({} if config.tied else rates)
    return {"optimizer": optimizer, "learning_rate": min(3e-3, (0.1 if settings.initial else 0.5) / config.width)}


def _trained(
    settings: PretrainSettings, tokens_per_step: int, precision: Precision, config: LanguageModelConfig, **course: Any
) -> TrainerSettings:
    """How a model is trained.

    Args:
        course: slots, and what follows from the number of steps; what the settings say of the latter stands before it.
    """
    derived = {"steps": 1, **default_optimizer(config, tokens_per_step, settings), **course}
    fixed = {"slots": course["slots"], "precision": precision}
    return parse_settings(TrainerSettings, derived | settings.trainer | fixed, "'trainer' of the stage 'pretrain'")


def _timed(settings: PretrainSettings) -> bool:
    """Whether the number of steps follows from the minutes."""
    return settings.steps is None and settings.tokens is None


def _most_steps(settings: PretrainSettings, text_tokens: int, size: int, parameters: int | None) -> float:
    """Steps of `size` tokens after which the text has been read as often as it may be, or as pays.

    Args:
        parameters: of a model whose size was chosen here; None for a given one, which takes the minutes it is given.
    """
    if settings.most_epochs is not None:
        return math.ceil(settings.most_epochs * text_tokens / size)
    if parameters is None or not _timed(settings):
        return math.inf
    return math.ceil(most_tokens(parameters, text_tokens, size) / size)


def _steps(settings: PretrainSettings, speed: float, size: int, most: float) -> int:
    """Steps of `size` tokens: those asked for, or those that the minutes hold and the text allows."""
    if _timed(settings):
        return int(min(max(20, settings.minutes * 60 * TIME_SHARE * speed // size), most))
    steps = settings.steps or math.ceil((settings.tokens or 0) / size)
    if steps > most:
        raise UserError(
            f"{steps:,} steps of {size:,} tokens read the text more often than most_epochs={settings.most_epochs:g}.",
            f"Set {key_of('steps')}={most:.0f} or less, add text, or leave out most_epochs.",
        )
    return steps


def _course(settings: PretrainSettings, steps: int, most: float, size: int, text_tokens: int) -> dict[str, Any]:
    """What the trainer does over so many steps. Shares that a limit has decided hold for no other number of them."""
    kept = _timed(settings) and settings.most_epochs is None
    return {
        "steps": steps,
        "minutes": settings.minutes if kept else None,
        "most_steps": int(most) if kept and most < math.inf else None,
        "seed": settings.seed,
        "warm_up": max(1, min(100, steps // 50)),
        "validate_every": math.ceil(steps / 12),
        "keep_best": steps * size > FREE_EPOCHS * text_tokens / (MORE if kept else 1),
    }


def _trial_facts(trial: Trial) -> dict[str, Any]:
    return {
        "layers": trial.config.layers,
        "width": trial.config.width,
        "parameters": trial.parameters,
        "tokens_per_second": round(trial.tokens_per_second),
        "tokens": trial.tokens,
        "epochs": round(trial.epochs, 2),
        "predicted_loss": trial.predicted_loss,
    }
