"""Train an encoder from scratch, or further: it guesses hidden words, and whether texts go on."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import nn

from malmoi.core.config import Settings, parse_settings
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.corpus.store import Split, count_documents, read_documents
from malmoi.data.masked_text import MaskedText, text_room
from malmoi.data.masking import Masker
from malmoi.data.mixture import Mixture
from malmoi.data.sentence_pairs import CLASSES, PairKind
from malmoi.data.store import Tokens, build_token_store, open_token_store
from malmoi.evaluate.masked import Counts, control_accuracy, guesses
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.classifier import TextForm, new_classifier
from malmoi.models.encoder import Encoder, NoHead
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model, count_parameters
from malmoi.objectives.classification import Classification
from malmoi.objectives.joint import Joint, Part, StatesObjective
from malmoi.objectives.masked import Masked
from malmoi.objectives.objective import Objective
from malmoi.pipeline.costs import Training
from malmoi.pipeline.plan import ASSUMED_VOCABULARY
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.pipeline.stages.pretrain import MIXTURE, PLAN
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.optimizers import OptimizerSettings, build_optimizers
from malmoi.train.trainer import Trainer, TrainerSettings, TrainingResult

ObjectiveName = Literal["masked", "next-sentence", "sentence-order"]

HELD_OUT = 1 << 15
"""Tokens of each source on which the model is judged at most."""

SHAPE = {"layers": 4, "width": 256, "heads": 4}
"""The encoder where nothing else is asked for."""

TIME_SHARE = 0.93
"""Share of the minutes that is spent in training steps; validation and saving take the rest."""

SAVED_AFTER = 45
"""Seconds of training that a kill may cost."""

GUESSES = "guesses.json"

MEASURED = 5
"""Steps that are timed where minutes are given."""

OBJECTIVES: dict[str, Callable[[], StatesObjective]] = {
    "masked": Masked,
    "next-sentence": Classification,
    "sentence-order": Classification,
}


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
            has some 20 hidden ones.
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
    objectives: dict[ObjectiveName, PositiveInt] = {"masked": 1}
    masked_share: float = Field(0.15, gt=0, lt=1)
    mixture: dict[str, float] = {}
    context: int = Field(128, ge=16)
    rows: PositiveInt = 32
    trainer: dict[str, Any] = {}
    seed: int = 0

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if not self.objectives:
            raise ValueError("objectives is empty; {masked: 1} guesses hidden words")
        if len(self.objectives.keys() - {"masked"}) > 1:
            raise ValueError("next-sentence and sentence-order ask two things of the same pair; take one of them")
        if "next-sentence" in self.objectives and self.rows < 2:
            raise ValueError("next-sentence takes the other half from another row; set rows to 2 or more")
        if self.initial and self.model:
            raise ValueError("a model that goes on from a checkpoint has the checkpoint's shape; leave out model")
        return self

    @property
    def pair(self) -> PairKind | None:
        """The objective that asks about two halves, if there is one."""
        return next((name for name in self.objectives if name != "masked"), None)


def run(settings: PretrainEncoderSettings, directory: Path) -> dict[str, Any]:
    """Train into `directory`: `model/`, `metrics.jsonl`, `plan.json`, `guesses.json`."""
    tokenizer = load_tokenizer(settings.tokenizer)
    body = _body(settings, tokenizer)
    masker = Masker(tokenizer, settings.masked_share)
    train, held_out = (_tokens(settings, tokenizer, directory, split) for split in ("train", "held_out"))
    held_out = {name: tokens[:HELD_OUT] for name, tokens in held_out.items()}
    room, slots = text_room(tokenizer, body.config.context, settings.pair), settings.trainer.get("slots", 1)
    mixture = Mixture(train, held_out, _weights(settings), room, settings.rows, slots, settings.seed)
    source = MaskedText(mixture, tokenizer, masker, settings.pair, settings.seed)
    model = body if settings.pair is None else new_classifier(body, CLASSES, settings.seed, TextForm(pair=True))
    objective = Joint({name: Part(OBJECTIVES[name](), weight) for name, weight in settings.objectives.items()})
    trainer_settings = _plan(settings, model, objective, source, directory / PLAN)
    trainer = Trainer(model, objective, source, trainer_settings, directory)
    result = trainer.run()
    with console.status("counting neighbours"):
        counts = Counts({name: train[name] for name in mixture.weights}, tokenizer.size, masker.mask)
        controls = control_accuracy(counts, source.validation())
    write_json(directory / GUESSES, guesses(body, tokenizer, source.validation()))
    facts = {
        **_facts(body.config, settings, result),
        **_measured(trainer.validate(), settings.objectives),
        **({"controls": controls} if controls else {}),
        "mixture": {name: asdict(share) for name, share in mixture.shares(result.steps).items()},
    }
    save_checkpoint(directory / "model", body, tokenizer, _card(settings, facts))
    _print(facts)
    return facts


def _body(settings: PretrainEncoderSettings, tokenizer: Tokenizer) -> Encoder:
    """The encoder to start from.

    Raises:
        UserError: the checkpoint to go on from cannot serve the objectives, or has another tokenizer.
    """
    if settings.initial is None:
        fields = {**SHAPE, **settings.model, "vocabulary": tokenizer.size, "context": settings.context}
        config = parse_settings(EncoderConfig, fields, "'model' of the stage 'pretrain-encoder'")
        return cast(Encoder, build_model(config, settings.seed))
    checkpoint = load_checkpoint(settings.initial)
    body = checkpoint.model
    if not isinstance(body, Encoder):
        raise UserError(
            f"{settings.initial} is no encoder: {', '.join(settings.objectives)} want a model that looks both ways.",
            "Take an encoder such as BERT, or go on with a language model by the stage pretrain.",
        )
    if isinstance(body.head, NoHead) and "masked" in settings.objectives:
        raise UserError(
            f"{settings.initial} has no head that guesses words.",
            "Take a checkpoint that has it, or leave initial out.",
        )
    if checkpoint.tokenizer.backend.get_vocab() != tokenizer.backend.get_vocab():
        raise UserError(
            f"{settings.initial} was trained with another tokenizer than {settings.tokenizer}.",
            f"Set tokenizer={settings.initial}.",
        )
    if settings.context > body.config.context:
        raise UserError(
            f"context={settings.context}, but {settings.initial} reads {body.config.context} tokens.",
            f"Set it to {body.config.context} or less.",
        )
    return body


def _tokens(
    settings: PretrainEncoderSettings, tokenizer: Tokenizer, directory: Path, split: Split
) -> dict[str, Tokens]:
    store = directory / "tokens" / split
    documents = read_documents(settings.corpus, split)
    build_token_store(documents, count_documents(settings.corpus, split), tokenizer, store)
    return open_token_store(store)


def _weights(settings: PretrainEncoderSettings) -> dict[str, float]:
    """What the mixture is to be: as set, or as the corpus was mixed for."""
    if settings.mixture or not (settings.corpus / MIXTURE).is_file():
        return settings.mixture
    return {name: row["share"] for name, row in read_json(settings.corpus / MIXTURE).items()}


def _plan(
    settings: PretrainEncoderSettings, model: nn.Module, objective: Objective, source: MaskedText, path: Path
) -> TrainerSettings:
    """The derived numbers, made once: going on after a kill, or repeating the run elsewhere, uses the same."""
    if not path.exists():
        seconds = _seconds_a_step(model, objective, source, settings.trainer.get("slots", 1))
        steps = settings.steps or max(1, int(TIME_SHARE * settings.minutes * 60 / seconds))
        fields = {
            "steps": steps,
            "optimizer": "adamw" if settings.initial else "muon",
            "learning_rate": 3e-4 if settings.initial else 3e-3,
            "warm_up": max(1, steps // 20),
            "validate_every": max(1, steps // 8),
            "checkpoint_every": max(1, min(steps, round(SAVED_AFTER / seconds))),
            "seed": settings.seed,
        }
        write_json(path, {"seconds_a_step": round(seconds, 4), "trainer": fields | settings.trainer})
    plan = read_json(path)
    console.print(f"  {plan['trainer']['steps']:,} steps of about {plan['seconds_a_step']:.2f} s")
    return parse_settings(TrainerSettings, plan["trainer"], "'trainer' of the stage 'pretrain-encoder'")


def _seconds_a_step(model: nn.Module, objective: Objective, source: MaskedText, slots: int) -> float:
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


def _measured(values: dict[str, float], objectives: Iterable[str]) -> dict[str, Any]:
    """Accuracy and loss of each objective on held-out text; none where nothing is held out."""
    measured = {}
    for name in objectives:
        if items := values.get(f"validation_{name}_items"):
            measured[name] = {key: values[f"validation_{name}_{key}"] / items for key in ("loss", "correct")}
    return {"objectives": {name: {"loss": m["loss"], "accuracy": m["correct"]} for name, m in measured.items()}}


def _facts(config: EncoderConfig, settings: PretrainEncoderSettings, result: TrainingResult) -> dict[str, Any]:
    """The result of the stage, as the report and the card show it."""
    tokens = result.steps * settings.rows * settings.trainer.get("slots", 1) * config.context
    return {
        "parameters": count_parameters(config),
        "layers": config.layers,
        "width": config.width,
        "context": config.context,
        "steps": result.steps,
        "tokens": tokens,
        "tokens_per_second": round(tokens / max(result.seconds, 1e-9)),
        "training_seconds": round(result.seconds, 1),
        "precision": result.precision,
        "skipped_steps": result.skipped,
        "validation_loss": result.validation_loss,
    }


def _card(settings: PretrainEncoderSettings, facts: dict[str, Any]) -> str:
    sources = "\n".join(
        f"- {name}: {row['share']:.1%} of the tokens, {row['epochs']:.2f} epochs"
        for name, row in facts["mixture"].items()
    )
    learned = ", ".join(f"{name} (weight {weight})" for name, weight in settings.objectives.items())
    measured = "; ".join(f"{name} {one['accuracy']:.1%}" for name, one in facts["objectives"].items())
    beginning = "from scratch" if settings.initial is None else "from another checkpoint"
    return (
        f"# An encoder of {facts['parameters']:,} parameters\n\n"
        f"Trained {beginning} by malmoi on {learned}: {facts['steps']:,} steps, {facts['tokens']:,} tokens, "
        f"{facts['training_seconds']:.0f} s, {facts['precision']}, seed {settings.seed}. "
        f"Right on held-out text: {measured or 'not measured'}. It is a base to fine-tune.\n\n## Text\n\n{sources}\n"
    )


def _print(facts: dict[str, Any]) -> None:
    words = [f"{name} {one['accuracy']:.1%}" for name, one in facts["objectives"].items()]
    controls = facts.get("controls")
    if controls:
        words.append(f"words by counting: neighbours {controls['neighbours']:.1%}, unigram {controls['unigram']:.1%}")
    console.print(f"  right on held-out text: {'; '.join(words)}" if words else "  nothing is held out to measure on")


def estimate(settings: PretrainEncoderSettings) -> Estimate:
    """Minutes as set, or what the given steps cost."""
    if settings.initial is not None:
        return Estimate(None if settings.steps else settings.minutes * 60)
    fields = {**SHAPE, **settings.model, "vocabulary": ASSUMED_VOCABULARY, "context": settings.context}
    config = parse_settings(EncoderConfig, fields, "'model' of the stage 'pretrain-encoder'")
    batch = settings.rows * settings.context
    tokens = (settings.steps or 1) * batch * settings.trainer.get("slots", 1)
    training = Training(config=config, learned=tokens, batch=batch)
    words = f"{config.layers} layers of width {config.width}, {count_parameters(config) / 1e6:.1f}M parameters"
    return Estimate(training.seconds() if settings.steps else settings.minutes * 60, training.memory(), (words,))


STAGE = Stage(PretrainEncoderSettings, run, estimate)
