"""What the user asks to be planned, read from words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError, nearest
from malmoi.formats.checkpoint import read_config
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.model import ModelConfig
from malmoi.models.presets import PRESETS
from malmoi.parallel.layout import Layout
from malmoi.pipeline.bench import shape_of
from malmoi.pipeline.planning.hardware import parse_hardware
from malmoi.pipeline.planning.job import Job
from malmoi.pipeline.planning.plan import TOKENS_A_PARAMETER, Wishes, default_rows
from malmoi.pipeline.planning.step_time import count_parameters_once
from malmoi.pipeline.recipe import shipped_recipes
from malmoi.train.optimizers import OptimizerSettings

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([kmbt]?)", re.IGNORECASE)
_POWERS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_RECOMPUTED = re.compile(r"none|(?:blocks|feed_forward|attention)(?::([1-9][0-9]*))?")


def parse_wishes(
    model: str,
    hardware: str,
    *,
    tokens: str | None = None,
    layout: str | None = None,
    rows: int | None = None,
    micro_rows: int | None = None,
    length: int | None = None,
    precision: str = "bfloat16",
    optimizer: str = "adamw",
    recompute: str | None = None,
    price: float | None = None,
) -> Wishes:
    """What the words of `malmoi plan` ask for.

    Raises:
        UserError: one of them cannot be understood, or the model cannot be planned.
    """
    cluster = parse_hardware(hardware, price)
    config = find_shape(model)
    length = length or config.context
    if length > config.context:
        raise UserError(f"Rows of {length} tokens do not fit into the context of {config.context}.", "Shorten them.")
    _one_of("precision", precision, ("bfloat16", "float32"))
    template = Job(
        config,
        Layout(),
        rows or default_rows(config, length),
        1,
        length,
        precision,  # type: ignore[arg-type]
        optimizer=parse_settings(OptimizerSettings, {"optimizer": optimizer}, "--optimizer"),
    )
    wanted = TOKENS_A_PARAMETER * count_parameters_once(config) if tokens is None else parse_number(tokens)
    again = None if recompute is None else parse_recompute(recompute, config.layers)
    return Wishes(cluster, template, wanted, parse_layout(layout) if layout else None, micro_rows, again)


def find_shape(model: str) -> GPTConfig:
    """The shape of a preset, of a checkpoint, or of what a recipe pretrains.

    Raises:
        UserError: there is nothing of that name, or it is no decoder-only transformer.
    """
    config: ModelConfig
    if model in PRESETS:
        config = PRESETS[model]
    elif Path(model).exists() and Path(model).suffix not in (".yaml", ".yml"):
        config = read_config(Path(model))
    elif model in shipped_recipes() or Path(model).suffix in (".yaml", ".yml"):
        config = shape_of(model, []).config
    else:
        close = nearest(model, [*PRESETS, *shipped_recipes()])
        raise UserError(
            f"There is no published shape, checkpoint or recipe {model!r}.", close or f"Known: {', '.join(PRESETS)}."
        )
    if not isinstance(config, GPTConfig) or config.reversible:
        raise UserError(f"{model} cannot be planned: only decoder-only transformers can.", "Such as gpt3-175b.")
    return config


def parse_number(text: str) -> float:
    """300B, 1.5T, 20_000 as a number.

    Raises:
        UserError: it is none.
    """
    found = _NUMBER.fullmatch(text.strip().replace("_", "").replace(",", ""))
    if found is None or not float(found[1]):
        raise UserError(f"{text!r} is no number of tokens.", "Write it as 300B, 1.5T or 20000000.")
    return float(found[1]) * _POWERS[found[2].lower()]


def parse_recompute(text: str, layers: int) -> str:
    """none, blocks or attention:2, as `TrainerSettings.recompute` says it.

    Raises:
        UserError: it is none of that, or every so many-th of more than `layers` blocks.
    """
    found = _RECOMPUTED.fullmatch(text)
    if found is None:
        raise UserError(
            f"recompute={text!r} is not known.",
            "There are: none, blocks, feed_forward, attention; with :2 behind it of every second block.",
        )
    if int(found[1] or 1) > layers:
        raise UserError(
            f"recompute={text!r}: there are only {layers} blocks.", f"Write a number up to {layers} behind it."
        )
    return "" if text == "none" else text


def parse_layout(text: str) -> Layout:
    """data=2,tensor=8 as a layout.

    Raises:
        UserError: there is no such axis, or a size is no number.
    """
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, separator, value = part.partition("=")
        if not separator:
            raise UserError(f"{part!r} is no part of a layout.", "Write it as: --layout data=2,tensor=8")
        values[name.strip()] = value.strip()
    return parse_settings(Layout, values, "--layout")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name}={value!r} is not known.", f"There are: {', '.join(known)}.")
