"""The numbers of a training of a translator: its shape, its steps, its rates."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from malmoi.core.accelerator import pick_device
from malmoi.core.config import parse_settings
from malmoi.data.pair_batches import PairBatches
from malmoi.models.initialize import initialize
from malmoi.models.registry import count_parameters, empty_model
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.models.seq2seq_shapes import SHAPES, Shape
from malmoi.objectives.sequence_to_sequence import SequenceToSequence
from malmoi.pipeline.costs import EFFICIENCY, KEPT_NUMBERS, PROCESS, token_estimate
from malmoi.pipeline.stage import Estimate
from malmoi.pipeline.translation_pairs import TranslationPairsSettings, read_translation_pairs
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.optimizers import build_optimizers
from malmoi.train.pace import TIME_SHARE
from malmoi.train.precision import choose_precision, product_speed
from malmoi.train.settings import TrainerSettings

PROBED = 4
"""Steps that are timed."""


class TranslatorSettings(TranslationPairsSettings):
    """Settings of the stage, beside those of its pairs.

    Attributes:
        vocabulary: ids of the byte-level vocabulary that both languages share.
        shape: "modern" has norms before each sublayer, SwiGLU and relative positions, as T5 has them; "original" is the
            Transformer of 2017, as Marian has it.
        width: size of a hidden state.
        layers, decoder_layers: blocks of the encoder and of the decoder.
        heads: attention heads.
        feed_forward: inner size of the feed-forward layer.
        dropout: on embeddings, attention weights and the outputs of the sublayers.
        smoothing: share of the probability that a target gives to all tokens alike.
        longest: pairs with a longer side, in tokens, are not learned from; a text to translate may be twice as long.
        tokens: of sources and targets together in a micro-batch.
        slots: micro-batches in a step.
        epochs: how often each pair is seen.
        minutes: time to learn, instead of `epochs`; some steps are timed at the beginning.
        optimizer: "muon" for the matrices of the blocks and AdamW for the rest, or "adamw" for all.
        learning_rate: of AdamW.
        matrix_learning_rate: of Muon.
        schedule: "trapezoid", "cosine" or "noam".
        warm_up: share of the steps in which the rates rise.
        beams: width of the search when it is tested.
        texts: translated at the end, for the report.
        seed: of the first weights and of the order.
    """

    vocabulary: PositiveInt = 4096
    shape: Shape = "modern"
    width: PositiveInt = 128
    layers: PositiveInt = 3
    decoder_layers: PositiveInt = 3
    heads: PositiveInt = 4
    feed_forward: PositiveInt = 320
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    longest: PositiveInt = 64
    tokens: PositiveInt = 2048
    slots: PositiveInt = 2
    epochs: PositiveFloat = 10
    minutes: PositiveFloat | None = None
    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: PositiveFloat = 3e-3
    matrix_learning_rate: PositiveFloat = 0.02
    schedule: Literal["trapezoid", "cosine", "noam"] = "trapezoid"
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.02
    beams: PositiveInt = 4
    texts: list[str] = []
    seed: int = 0

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        parse_settings(EncoderDecoderConfig, {**_shape(self, self.vocabulary), "start": 0}, "the translator's shape")
        return self


def model_config(settings: TranslatorSettings, tokenizer: Tokenizer) -> EncoderDecoderConfig:
    """The shape of the model; what only dialogues need is never written."""
    never = tuple(id for id in tokenizer.special.values() if id != tokenizer.end)
    return EncoderDecoderConfig(**_shape(settings, tokenizer.size), start=tokenizer.end, never=never)


def _shape(settings: TranslatorSettings, vocabulary: int) -> dict[str, Any]:
    named = ("width", "layers", "decoder_layers", "heads", "feed_forward", "dropout")
    own = {name: getattr(settings, name) for name in named}
    return {"vocabulary": vocabulary, "context": 2 * settings.longest, **own, **SHAPES[settings.shape]}


def first_weights(config: EncoderDecoderConfig, seed: int) -> EncoderDecoder:
    """A model whose embeddings are of unit size once they are scaled, and whose logits are small."""
    model = empty_model(config)
    assert isinstance(model, EncoderDecoder)
    initialize(model, seed, embedding_deviation=config.width**-0.5)
    return model


def derive_plan(settings: TranslatorSettings, config: EncoderDecoderConfig, batches: PairBatches) -> dict[str, Any]:
    """The numbers that a run keeps, so that going on uses the same."""
    steps = batches.steps(settings.epochs)
    if settings.minutes is not None:
        seconds = _seconds_a_step(settings, config, batches)
        steps = max(1, int(TIME_SHARE * 60 * settings.minutes / seconds))
    return {
        "model": config.model_dump(),
        "trainer": trainer_settings(settings, steps).model_dump(),
        "parameters": count_parameters(config),
        "epochs": round(steps * settings.slots / batches.batches, 2),
    }


def trainer_settings(settings: TranslatorSettings, steps: int) -> TrainerSettings:
    """How so many steps are trained."""
    return TrainerSettings(
        steps=steps,
        minutes=settings.minutes,
        slots=settings.slots,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        matrix_learning_rate=settings.matrix_learning_rate,
        betas=(0.9, 0.98),
        schedule=settings.schedule,
        warm_up=max(1, round(settings.warm_up * steps)),
        cool_down=0.8,
        validate_every=math.ceil(steps / 12),
        seed=settings.seed,
    )


def _seconds_a_step(settings: TranslatorSettings, config: EncoderDecoderConfig, batches: PairBatches) -> float:
    """Seconds of an optimizer step, the first one left out."""
    model = first_weights(config, settings.seed)
    objective, optimizers = (
        SequenceToSequence(settings.smoothing),
        build_optimizers(model, trainer_settings(settings, 1)),
    )
    started = 0.0
    for step in range(PROBED + 1):
        started = started if step > 1 else time.monotonic()
        for slot in range(settings.slots):
            loss = objective.loss(model, batches.batch(step, slot))
            (loss.total / loss.count).backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return (time.monotonic() - started) / PROBED


def estimate(settings: TranslatorSettings) -> Estimate:
    """Time and memory: the minutes as set, or what the pairs cost when they are here."""
    config = EncoderDecoderConfig(**_shape(settings, settings.vocabulary), start=0)
    weights, device = count_parameters(config), pick_device()
    kept = 4 * settings.tokens * (KEPT_NUMBERS * config.width * config.depth + 4 * config.vocabulary)
    memory, words = PROCESS + 16 * weights + kept, f"{weights:,} parameters"
    if settings.minutes is not None:
        return Estimate(60 * settings.minutes, memory, (words,))
    if not settings.are_here:
        return Estimate(None, memory, (words,))
    pairs = read_translation_pairs(settings).train
    tokens = sum(
        token_estimate(pair.source, settings.longest) + token_estimate(pair.target, settings.longest) for pair in pairs
    )
    # Each token of a pair passes one of the two stacks, about half of the weights.
    seconds = 3 * weights * tokens * settings.epochs / (EFFICIENCY * product_speed(device, choose_precision(device)))
    return Estimate(seconds, memory, (words, f"{len(pairs):,} pairs, about {tokens:,} tokens"))
