"""The settings of an encoder's pretraining, and its plan: what the settings leave open, derived from this machine."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator
from torch import nn

from malmoi.core.config import Settings, parse_settings
from malmoi.core.console import console
from malmoi.core.files import read_json, write_json
from malmoi.data.batch import BatchSource
from malmoi.data.sentence_pairs import PAIR_KINDS, PairKind
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import count_parameters
from malmoi.objectives.classification import Classification
from malmoi.objectives.joint import StatesObjective
from malmoi.objectives.masked import Masked
from malmoi.objectives.objective import Objective
from malmoi.objectives.token_labels import TokenLabels
from malmoi.pipeline.costs import ASSUMED_VOCABULARY, Training
from malmoi.pipeline.stage import Estimate, StageInput
from malmoi.train.optimizers import OptimizerSettings, build_optimizers
from malmoi.train.pace import TIME_SHARE
from malmoi.train.settings import TrainerFields, TrainerSettings

OBJECTIVES: dict[str, Callable[[], StatesObjective]] = {
    "masked": Masked,
    "next-sentence": Classification,
    "sentence-order": Classification,
    "shared-words": TokenLabels,
}
"""What an encoder can learn, by the words of the settings."""

SHAPE = {"layers": 4, "width": 256, "heads": 4}
"""The encoder where nothing else is asked for."""

MATRIX_DECAY = 0.3
"""Muon's steps do not shrink with the gradient: without a decay the layers outgrow what they are added to, and a norm
behind the sum leaves little of that (docs/lab/encoders.md)."""

MEASURED = 5
"""Steps that are timed where minutes are given."""


class PretrainEncoderSettings(Settings):
    """Settings of the stage. What it derives is kept in `plan.json`.

    Attributes:
        corpus: text.
        tokenizer: a tokenizer stage with `frame: bert`, or a checkpoint's folder.
        minutes: time for training, from which the steps follow when they are not given.
        steps: optimizer steps, instead of what fits into the minutes.
        initial: an encoder to go on from, whose tokenizer must be the one given; new weights without it.
        model: fields of `EncoderConfig`; by default BERT's form with 4 layers of width 256. `positions: rotary` and
            `activation: swiglu` make a modern one.
        objectives: what is learned, and how much an item weighs. "masked" guesses hidden words; "next-sentence" tells
            whether the second half of a row goes on where the first one ends or is another row's, "sentence-order"
            whether the two stand in their order. `{masked: 1, next-sentence: 20}` is about BERT's: a row of 128 tokens
            has some 20 hidden ones. "shared-words" tells of every token of two texts whether the other text has it too,
            in batches of their own, one after three of hidden words.
        counted: tokens that have the same neighbours in the text begin with alike embeddings, found by counting in some
            seconds; else new embeddings are random.
        masked_share: share of the words that are to be guessed: 8 of 10 of their tokens are hidden, 1 is another one, 1
            stays.
        mixture: source -> share of the tokens; empty means what the corpus was mixed for, or as large as they are.
        context: tokens in a row.
        rows: rows in a micro-batch.
        trainer: fields of `TrainerSettings`; the rest is derived.
        seed: of weights, of the order of the data, and of what is hidden.
    """

    corpus: StageInput
    tokenizer: StageInput
    minutes: PositiveFloat = 5
    steps: PositiveInt | None = None
    initial: StageInput | None = None
    model: dict[str, Any] = {}
    objectives: dict[str, PositiveInt] = {"masked": 1}
    counted: bool = True
    masked_share: float = Field(0.15, gt=0, lt=1)
    mixture: dict[str, float] = {}
    context: int = Field(128, ge=16)
    rows: PositiveInt = 32
    trainer: TrainerFields = {}
    seed: int = 0

    @field_validator("objectives")
    @classmethod
    def _check_objectives(cls, objectives: dict[str, int]) -> dict[str, int]:
        if not objectives:
            raise ValueError("objectives is empty; {masked: 1} guesses hidden words")
        for name in objectives.keys() - OBJECTIVES.keys():
            raise ValueError(f"there is no objective {name!r}; there are {', '.join(OBJECTIVES)}")
        return objectives

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if len(pairs := [kind for kind in PAIR_KINDS if kind in self.objectives]) > 1:
            raise ValueError(f"{' and '.join(pairs)} make different pairs of the same rows; take one of them")
        if pairs and pairs != ["sentence-order"] and self.rows < 2:
            raise ValueError(f"{pairs[0]} takes other words from another row; set rows to 2 or more")
        if self.initial and self.model:
            raise ValueError("a model that goes on from a checkpoint has the checkpoint's shape; leave out model")
        encoder_config(self, ASSUMED_VOCABULARY)
        return self

    @property
    def pair(self) -> PairKind | None:
        """The objective that asks about two texts, if there is one."""
        return next((kind for kind in PAIR_KINDS if kind in self.objectives), None)


def encoder_config(settings: PretrainEncoderSettings, vocabulary: int) -> EncoderConfig:
    """The shape that is asked for."""
    fields = {**SHAPE, **settings.model, "vocabulary": vocabulary, "context": settings.context}
    return parse_settings(EncoderConfig, fields, "'model' of the stage 'pretrain-encoder'")


def make_plan(
    settings: PretrainEncoderSettings, model: nn.Module, objective: Objective, source: BatchSource, path: Path
) -> TrainerSettings:
    """The derived numbers, made once: going on after a kill, or repeating the run elsewhere, uses the same."""
    if not path.exists():
        seconds = _seconds_a_step(model, objective, source, settings.trainer.get("slots", 1))
        steps = settings.steps or max(1, int(TIME_SHARE * settings.minutes * 60 / seconds))
        fields = {
            "steps": steps,
            "minutes": None if settings.steps else settings.minutes,
            "optimizer": "adamw" if settings.initial else "muon",
            "learning_rate": 3e-4 if settings.initial else 3e-3,
            "embedding_learning_rate": None if settings.initial else 2e-3,
            "matrix_weight_decay": MATRIX_DECAY,
            "betas": (0.9, 0.999),  # a shorter memory lets the rows of rare tokens wander (docs/lab/encoders.md)
            "warm_up": max(1, steps // 20),
            "validate_every": math.ceil(steps / 8),
            "seed": settings.seed,
        }
        write_json(path, {"seconds_a_step": round(seconds, 4), "trainer": fields | settings.trainer})
    plan = read_json(path)
    console.print(f"  {plan['trainer']['steps']:,} steps of about {plan['seconds_a_step']:.2f} s")
    return parse_settings(TrainerSettings, plan["trainer"], "'trainer' of the stage 'pretrain-encoder'")


def _seconds_a_step(model: nn.Module, objective: Objective, source: BatchSource, slots: int) -> float:
    """The median of some steps of a copy, after a first one."""
    copied, times = copy.deepcopy(model).train(), []
    optimizers = build_optimizers(copied, OptimizerSettings())
    for step in range(MEASURED + 1):
        started = time.perf_counter()
        for slot in range(slots):
            objective.loss(copied, source.batch(step, slot)).total.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def estimate_encoder(settings: PretrainEncoderSettings) -> Estimate:
    """Minutes as set, or what the given steps cost."""
    if settings.initial is not None:
        return Estimate(None if settings.steps else settings.minutes * 60)
    config = encoder_config(settings, ASSUMED_VOCABULARY)
    batch = settings.rows * settings.context
    tokens = (settings.steps or 1) * batch * settings.trainer.get("slots", 1)
    training = Training(config=config, learned=tokens, batch=batch)
    words = f"{config.layers} layers of width {config.width}, {count_parameters(config) / 1e6:.1f}M parameters"
    return Estimate(training.seconds() if settings.steps else settings.minutes * 60, training.memory(), (words,))
