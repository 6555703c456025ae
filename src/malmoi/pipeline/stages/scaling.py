"""A ladder of small trainings, the law that they follow, and the next size predicted before it is trained."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt
from rich import box
from rich.table import Table

from malmoi.core.config import Settings, parse_settings
from malmoi.core.console import console
from malmoi.core.files import read_json, write_json
from malmoi.models.gpt_config import GPTConfig
from malmoi.pipeline.costs import ASSUMED_VOCABULARY, Training, multiplied
from malmoi.pipeline.pretraining.settings import PretrainSettings
from malmoi.pipeline.scaling_law import Law, Point, by_operations_alone, fit, predictions_without_each
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.pipeline.stages import pretrain
from malmoi.tokenizers.load import load_tokenizer
from malmoi.train.settings import TrainerFields

RESULT, PREDICTION, RUNGS = "scaling.json", "prediction.json", "rungs"

Size = tuple[PositiveInt, PositiveInt]
"""Layers and width."""


class ScalingSettings(Settings):
    """Settings of the stage.

    Attributes:
        corpus: text.
        tokenizer: a tokenizer stage.
        sizes: of the ladder, layers and width.
        tokens: each size learns from each of these numbers of tokens.
        next: the size that is predicted, then trained.
        next_tokens: how many tokens it learns from; 0 for the largest of `tokens`.
        shapes: deep and wide models of about one size, which learn from the largest of `tokens`.
        model: other fields of the model, for all.
        context: tokens in a row.
        rows: rows in a micro-batch.
        trainer: fields of `TrainerSettings`; the rest is derived as `pretrain` derives it.
        seed: of weights and of the order of the data.
    """

    corpus: StageInput
    tokenizer: StageInput
    sizes: Annotated[list[Size], Field(min_length=3)] = [(1, 32), (1, 64), (2, 64), (2, 96), (3, 96)]
    tokens: Annotated[list[PositiveInt], Field(min_length=2)] = [65_536, 131_072, 262_144]
    next: Size = (4, 128)
    next_tokens: int = Field(0, ge=0)
    shapes: list[Size] = []
    model: dict[str, Any] = {}
    context: PositiveInt = 64
    rows: PositiveInt = 16
    trainer: TrainerFields = {}
    seed: int = 0


def run(settings: ScalingSettings, directory: Path) -> dict[str, Any]:
    """Train the ladder, fit and predict, train the next size; write `prediction.json` before it and `scaling.json`.

    Raises:
        UserError: a size cannot be, or the ladder is too small for a law.
    """
    for size in (*settings.sizes, *settings.shapes, settings.next):
        _config(settings, size)  # one that cannot be is said before any is trained
    most = max(settings.tokens)
    ladder = [_rung(settings, size, tokens, directory) for size in settings.sizes for tokens in sorted(settings.tokens)]
    shapes = [_rung(settings, size, most, directory) for size in settings.shapes]
    points = [_point(rung) for rung in ladder]
    law = fit(points)
    goal = settings.next_tokens or most
    parameters = multiplied(_config(settings, settings.next))
    if not (directory / PREDICTION).exists():
        without = predictions_without_each(points, parameters, goal)
        prediction = {
            "predicted": law.loss(parameters, goal),
            "low": min(without),
            "high": max(without),
            "by_operations": by_operations_alone(points, parameters, goal),
        }
        write_json(directory / PREDICTION, prediction)
    prediction = read_json(directory / PREDICTION)
    console.print(
        f"  predicted: {settings.next[0]} x {settings.next[1]} reaches {prediction['predicted']:.3f} after {goal:,} "
        f"tokens ({prediction['low']:.3f} to {prediction['high']:.3f} with one training less)"
    )
    reached = _rung(settings, settings.next, goal, directory)
    # What one would say without a law: that it does as well as the largest of the ladder.
    control = min(rung["loss"] for rung in ladder if rung["tokens"] == most)
    result = {
        "law": asdict(law),
        "ladder": ladder,
        "shapes": [{**rung, "expected": law.loss(rung["parameters"], rung["tokens"])} for rung in shapes],
        "next": {**reached, **prediction},
        "off": prediction["predicted"] / reached["loss"] - 1,
        "control": control,
        "control_off": control / reached["loss"] - 1,
        "by_operations_off": prediction["by_operations"] / reached["loss"] - 1,
    }
    write_json(directory / RESULT, result)
    _print(result, law)
    return result


def _rung(settings: ScalingSettings, size: Sequence[int], tokens: int, directory: Path) -> dict[str, Any]:
    """Train one model, unless that is done; what it came to."""
    layers, width = size
    place = directory / RUNGS / f"{layers}x{width}-{tokens}"
    if not (place / RESULT).exists():
        place.mkdir(parents=True, exist_ok=True)
        fields = PretrainSettings(
            corpus=settings.corpus,
            tokenizer=settings.tokenizer,
            tokens=tokens,
            model=_shape(settings, size),
            context=settings.context,
            rows=settings.rows,
            trainer={"validate_every": 0, "keep_best": False, **settings.trainer},
            samples=0,
            seed=settings.seed,
        )
        console.print(f"  [bold]{layers} x {width}, {tokens:,} tokens[/bold]")
        result = pretrain.run(fields, place)
        rung = {
            "layers": layers,
            "width": width,
            "parameters": multiplied(_config(settings, size)),
            "tokens": tokens,
            "loss": result["validation_loss"],
            "seconds": result["training_seconds"],
            "tokens_per_second": result["tokens_per_second"],
        }
        for folder in ("model", "tokens", "checkpoints"):
            shutil.rmtree(place / folder, ignore_errors=True)
        write_json(place / RESULT, rung)
    rung = read_json(place / RESULT)
    return dict(rung)


def _shape(settings: ScalingSettings, size: Sequence[int]) -> dict[str, Any]:
    return {**GPTConfig.sized(*size), **settings.model}


def _config(settings: ScalingSettings, size: Sequence[int]) -> GPTConfig:
    known = (settings.tokenizer / "tokenizer.json").is_file()
    vocabulary = load_tokenizer(settings.tokenizer).size if known else ASSUMED_VOCABULARY
    fields = {"vocabulary": vocabulary, "context": settings.context, **_shape(settings, size)}
    return parse_settings(GPTConfig, fields, f"the size {size[0]} x {size[1]} of the stage 'scaling'")


def _point(rung: dict[str, Any]) -> Point:
    return Point(rung["parameters"], rung["tokens"], rung["loss"])


def _print(result: dict[str, Any], law: Law) -> None:
    table = Table("size", "parameters", "tokens", "loss", "law", "off", box=box.SIMPLE_HEAD)
    for rung in [*result["ladder"], *result["shapes"], result["next"]]:
        expected = law.loss(rung["parameters"], rung["tokens"])
        size = f"{rung['layers']} x {rung['width']}"
        figures = [f"{rung['loss']:.3f}", f"{expected:.3f}", f"{expected / rung['loss'] - 1:+.1%}"]
        table.add_row(size, f"{rung['parameters']:,}", f"{rung['tokens']:,}", *figures)
    console.print(table)
    console.print(
        f"  loss = {law.floor:.2f} + {law.parameter_scale:.3g} / N^{law.parameter_exponent:.2f} + "
        f"{law.token_scale:.3g} / D^{law.token_exponent:.2f}; the next size was predicted {result['off']:+.1%} off "
        f"({result['by_operations_off']:+.1%} by a power law in N x D, {result['control_off']:+.1%} by taking the "
        f"largest of the ladder)"
    )


def estimate(settings: ScalingSettings) -> Estimate:
    """The operations of every training by what this machine does in a second."""
    goal = settings.next_tokens or max(settings.tokens)
    rungs = [(size, tokens) for size in settings.sizes for tokens in settings.tokens]
    rungs += [*((size, max(settings.tokens)) for size in settings.shapes), (settings.next, goal)]
    trainings = [
        Training(_config(settings, size), tokens, settings.rows * settings.context, head=True) for size, tokens in rungs
    ]
    return Estimate(
        sum(training.seconds() for training in trainings),
        max(training.memory() for training in trainings),
        (f"{len(rungs)} trainings",),
    )


STAGE = Stage(ScalingSettings, run, estimate)
