"""The plan of a pretraining: what the settings leave open, derived from this machine and this text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.table import Table

from malmoi.core.accelerator import pick_device
from malmoi.core.config import parse_settings
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.models.language_model import LanguageModelConfig
from malmoi.models.presets import preset
from malmoi.models.registry import count_parameters, family_name, language_models
from malmoi.pipeline.costs import PROCESS, Training
from malmoi.pipeline.dial import Trial, choose_size, tokens_per_second
from malmoi.pipeline.fit import fitting_rows, measured_step
from malmoi.pipeline.pretrain_settings import PretrainSettings
from malmoi.pipeline.stage import Estimate
from malmoi.train.pace import TIME_SHARE
from malmoi.train.precision import choose_precision
from malmoi.train.saving import SAVED_AFTER
from malmoi.train.settings import TrainerSettings

TOKENS_PER_STEP = 4_096
"""Default size of a step; Muon wants this much at the widths that fit a laptop."""

LOGITS = 1 << 26
"""Logits of a micro-batch (256 MiB of float32), beyond which gradients are accumulated."""

ASSUMED_VOCABULARY = 4_096
"""For an estimate, before there is a tokenizer."""

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
        text_tokens: size of the training text.
        initial: shape of the checkpoint to go on from.

    Raises:
        UserError: the model, or the trainer, has no such setting or cannot have such a value.
    """
    if initial is not None and settings.family not in (None, family_name(initial)):
        raise UserError(
            f"{settings.initial} is of the family {family_name(initial)}, not {settings.family}.", "Leave out family."
        )
    precision = settings.trainer.get("precision", "auto")
    if precision == "auto":
        precision = choose_precision(pick_device())
    context = min(settings.context, initial.context) if initial else settings.context
    rows, slots = batch_shape(settings, context, vocabulary)
    size = rows * slots * context
    config, trials = initial or given_config(settings, vocabulary), []
    if config is None:
        fixed, given = _fixed(settings, vocabulary), settings.model

        def shape(layers: int, width: int) -> LanguageModelConfig:
            numbers = {"layers": layers, "width": width} | {key: one for key, one in given.items() if type(one) is int}
            return _config(settings, fixed | _kind(settings).sized(numbers["layers"], numbers["width"]) | given)

        trials = choose_size(shape, context, rows, slots, settings.minutes * 60, text_tokens, precision)
        chosen = min(trials, key=lambda trial: trial.predicted_loss)
        config = chosen.config
    optimizer = default_optimizer(config, size, settings)
    if settings.memory is not None:
        fields = {"precision": precision, **optimizer, **settings.trainer, "slots": 1}
        fitting = fitting_rows(measured_step(config, context, fields), rows * slots, int(settings.memory * 2**30))
        rows, slots = fitting, rows * slots // fitting
    timed = settings.steps is None and settings.tokens is None
    kept = timed and settings.most_epochs is None  # else steps are counted on
    speed = 0.0
    if trials:
        speed = chosen.tokens_per_second
    elif timed:
        speed = tokens_per_second(config, context, rows, precision, optimizer["optimizer"], slots)
    if timed:
        steps = max(20, int(settings.minutes * 60 * TIME_SHARE * speed / size))
    else:
        steps = settings.steps or math.ceil((settings.tokens or 0) / size)
    derived = {
        "steps": steps,
        "minutes": settings.minutes if kept else None,
        "slots": slots,
        "precision": precision,
        "seed": settings.seed,
        **optimizer,
        "warm_up": max(1, min(100, steps // 50)),
        "validate_every": math.ceil(steps / 12),
        "keep_best": steps * size > FREE_EPOCHS * text_tokens / (MORE if kept else 1),
    }
    fields = derived | {key: value for key, value in settings.trainer.items() if key not in ("precision", "slots")}
    trainer = parse_settings(TrainerSettings, fields, "'trainer' of the stage 'pretrain'")
    return {
        "minutes": settings.minutes,
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


def estimate_pretraining(settings: PretrainSettings, vocabulary: int | None) -> Estimate:
    """What a dry run says, without measuring candidates.

    Args:
        vocabulary: None as long as there is no tokenizer.
    """
    config = given_config(settings, vocabulary)
    timed = settings.steps is None and settings.tokens is None
    minutes = 60 * settings.minutes if timed else None
    if config is None:  # logits are most of what small models keep
        words = "size and steps follow from the text and a measurement of this machine"
        return Estimate(minutes, PROCESS + 16 * LOGITS, (words,))
    context = min(settings.context, config.context)
    rows, slots = batch_shape(settings, context, config.vocabulary)
    tokens = settings.tokens or (settings.steps or 0) * rows * slots * context
    training = Training(config, tokens, rows * context, head=True)
    words = f"{count_parameters(config):,} parameters, " + (f"{tokens:,} tokens" if tokens else "as many tokens as fit")
    return Estimate(minutes or training.seconds(), training.memory(), (words,))


def keep_steps(path: Path, used: TrainerSettings) -> None:
    """Let a plan say in the end how many steps its minutes really held."""
    write_json(path, read_json(path) | {"trainer": used.model_dump() | {"minutes": None}})


def print_plan(plan: dict[str, Any]) -> None:
    """What was derived, and from what."""
    if plan["trials"]:
        columns = ("layers x width", "parameters", "tokens/s", "tokens in the time", "epochs", "predicted loss")
        table = Table(*columns, box=None)
        best = min(trial["predicted_loss"] for trial in plan["trials"])
        for trial in plan["trials"]:
            row = (
                f"{trial['layers']} x {trial['width']}",
                f"{trial['parameters']:,}",
                f"{trial['tokens_per_second']:,}",
                f"{trial['tokens']:,}",
                f"{trial['epochs']:.1f}",
                "lowest" if trial["predicted_loss"] == best else f"+{trial['predicted_loss'] / best - 1:.0%}",
            )
            table.add_row(*row, style="bold" if trial["predicted_loss"] == best else "")
        console.print(table)
    trainer = plan["trainer"]
    rates = f"learning rate {trainer['learning_rate']:g}"
    if trainer["optimizer"] == "muon":
        rates += f" (matrices {trainer['matrix_learning_rate']:g})"
    every = trainer["checkpoint_every"]
    saved = f"every {every} steps" if every else f"about every {SAVED_AFTER:.0f} s"
    console.print(
        f"  {plan['family']}, {plan['parameters']:,} parameters, {trainer['steps']:,} steps of "
        f"{plan['tokens_per_step']:,} tokens "
        f"({trainer['slots']} x {plan['rows']} x {plan['context']}), {trainer['precision']}, {trainer['optimizer']}, "
        f"{rates}, warm-up {trainer['warm_up']}, cool-down {trainer['cool_down']:.0%}, validation every "
        f"{trainer['validate_every']}, saved {saved}, "
        f"{'the best' if trainer['keep_best'] else 'the last'} weights are taken"
    )
    epochs = trainer["steps"] * plan["tokens_per_step"] / plan["text_tokens"]
    if round(epochs, 1) > FREE_EPOCHS:
        console.print(
            f"  [yellow]The text is read {epochs:.1f} times; after {FREE_EPOCHS} readings it teaches little more. Take "
            f"more text or fewer minutes, or set most_epochs={FREE_EPOCHS}.[/yellow]"
        )


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


def given_config(settings: PretrainSettings, vocabulary: int | None) -> LanguageModelConfig | None:
    """The model's configuration when the settings fix its size, else None."""
    fields = dict(settings.model)
    name = fields.pop("preset", None)
    kind = _kind(settings)
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    if name is None and not required <= {*fields, "vocabulary", "context"}:
        return None
    base = _language_preset(name, kind).model_dump() if name else {}
    vocabulary = base.get("vocabulary", ASSUMED_VOCABULARY) if vocabulary is None else vocabulary
    return _config(settings, {**base, **_fixed(settings, vocabulary), **fields, "vocabulary": vocabulary})


def _kind(settings: PretrainSettings) -> type[LanguageModelConfig]:
    """The kind of configuration that the family has."""
    return language_models()[settings.family or "gpt"]


def _fixed(settings: PretrainSettings, vocabulary: int) -> dict[str, Any]:
    """What is not a question of size. Where a family has a longest text of its own, rows do not shorten it."""
    limited = _kind(settings).model_fields["context"].is_required()
    return {"vocabulary": vocabulary, **({"context": settings.context} if limited else {})}


def _language_preset(name: str, kind: type[LanguageModelConfig]) -> LanguageModelConfig:
    config = preset(name)
    if not isinstance(config, LanguageModelConfig):
        raise UserError(f"The preset {name!r} is no language model.", "Take the shape of one that writes text.")
    if not isinstance(config, kind):
        raise UserError(
            f"The preset {name!r} is of the family {family_name(config)}.", "Set family to that, or give layers, width."
        )
    return config


def _config(settings: PretrainSettings, fields: dict[str, Any]) -> LanguageModelConfig:
    """The configuration of these fields.

    Raises:
        UserError: a field is wrong; one that another family has is named as that family's.
    """
    kind, where = _kind(settings), "'model' of the stage 'pretrain'"
    for field in fields:
        others = [name for name, other in language_models().items() if field in other.model_fields]
        if field not in kind.model_fields and others:
            raise UserError(
                f"A model of the family {settings.family or 'gpt'} has no {field!r}: that is a setting of "
                f"{', '.join(others)}.",
                f"Leave it out of 'model', or set family={others[0]}.",
            )
    return parse_settings(kind, fields, where)


def _trial_facts(trial: Trial) -> dict[str, Any]:
    return {
        "layers": trial.config.layers,
        "width": trial.config.width,
        "parameters": trial.parameters,
        "tokens_per_second": round(trial.tokens_per_second),
        "tokens": trial.tokens,
        "epochs": round(trial.epochs, 2),
        "predicted_loss": round(trial.predicted_loss, 3),
    }
