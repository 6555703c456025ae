"""Train an encoder from scratch, or further: it guesses hidden words, and whether texts go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from malmoi.core.config import Settings
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import write_json
from malmoi.data.batch import BatchSource, MaskedBatch
from malmoi.data.interleaved import Interleaved
from malmoi.data.masked_text import MaskedText, text_room
from malmoi.data.masking import Masker
from malmoi.data.mixture import Mixture
from malmoi.data.sentence_pairs import CLASSES
from malmoi.data.shared_words import SharedWords
from malmoi.data.store import Tokens
from malmoi.evaluate.masked import Counts, control_accuracy, guesses
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.classifier import Classifier, TextForm, new_classifier
from malmoi.models.encoder import Encoder, MaskedHead, NoHead
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model, count_parameters
from malmoi.models.token_labeller import TokenLabeller
from malmoi.objectives.joint import Joint, Part
from malmoi.pipeline.corpus_settings import check_mixture
from malmoi.pipeline.corpus_tokens import corpus_tokens, mixed_for
from malmoi.pipeline.encoder_base import begin_with_neighbours
from malmoi.pipeline.encoder_plan import (
    OBJECTIVES,
    PretrainEncoderSettings,
    encoder_config,
    estimate_encoder,
    make_plan,
)
from malmoi.pipeline.pretraining.plan import keep_steps
from malmoi.pipeline.stage import Stage
from malmoi.pipeline.stages.pretrain import PLAN
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.result import TrainingResult
from malmoi.train.trainer import Trainer

HELD_OUT = 1 << 15
"""Tokens of each source on which the model is judged at most."""

GUESSES = "guesses.json"

UNSEEN = 1e-6
"""Frequency that a token is expected with where it does not occur."""


def run(settings: PretrainEncoderSettings, directory: Path) -> dict[str, Any]:
    """Train into `directory`: `model/`, `metrics.jsonl`, `plan.json`, `guesses.json`."""
    tokenizer = load_tokenizer(settings.tokenizer)
    body = _body(settings, tokenizer)
    masker = Masker(tokenizer, settings.masked_share)
    train, held_out = (corpus_tokens(settings.corpus, tokenizer, directory, split) for split in ("train", "held_out"))
    held_out = {name: tokens[:HELD_OUT] for name, tokens in held_out.items()}
    room, slots = text_room(tokenizer, body.config.context, settings.pair), settings.trainer.get("slots", 1)
    shares = settings.mixture or mixed_for(settings.corpus)
    mixture = Mixture(train, held_out, shares, room, settings.rows, slots, settings.seed)
    if settings.initial is None:
        _expect_frequencies(body, {name: (train[name], weight) for name, weight in mixture.weights.items()})
        if settings.counted:
            with console.status("counting neighbours"):
                begin_with_neighbours(body, [train[name] for name in mixture.weights], tokenizer.end, settings.seed)
    source = _source(mixture, tokenizer, masker, settings)
    model = _model(body, settings)
    objective = Joint({name: Part(OBJECTIVES[name](), weight) for name, weight in settings.objectives.items()})
    trainer_settings = make_plan(settings, model, objective, source, directory / PLAN)
    trainer = Trainer(model, objective, source, trainer_settings, directory)
    result = trainer.run()
    keep_steps(directory / PLAN, trainer.settings)
    special = sorted(tokenizer.special.values())
    with console.status("counting neighbours"):
        counts = Counts({name: train[name] for name in mixture.weights}, tokenizer.size, masker.mask, special)
        hidden = [batch for batch in source.validation() if isinstance(batch, MaskedBatch)]
        controls = control_accuracy(counts, hidden)
    write_json(directory / GUESSES, guesses(body, tokenizer, hidden))
    facts = {
        **_facts(body.config, settings, result),
        **_measured(trainer.validate(), settings.objectives),
        **({"controls": controls} if controls else {}),
        "mixture": {name: asdict(share) for name, share in mixture.shares(result.steps).items()},
    }
    save_checkpoint(directory / "model", body, tokenizer, _card(settings, facts))
    _print(facts)
    return facts


def _source(mixture: Mixture, tokenizer: Tokenizer, masker: Masker, settings: PretrainEncoderSettings) -> BatchSource:
    """What the objectives learn from: text with hidden words, its halves, pairs that share words, or two of these."""
    if settings.pair != "shared-words":
        return MaskedText(mixture, tokenizer, masker, settings.pair, settings.seed)
    pairs = SharedWords(mixture, tokenizer, masker.words, settings.seed)
    if "masked" not in settings.objectives:
        return pairs
    return Interleaved(MaskedText(mixture, tokenizer, masker, None, settings.seed), pairs)


def _model(body: Encoder, settings: PretrainEncoderSettings) -> Encoder | Classifier | TokenLabeller:
    """The encoder with the head that its objective of pairs needs."""
    if settings.pair is None:
        return body
    if settings.pair == "shared-words":
        return TokenLabeller(body, CLASSES, settings.seed)
    return new_classifier(body, CLASSES, settings.seed, TextForm(pair=True))


def _body(settings: PretrainEncoderSettings, tokenizer: Tokenizer) -> Encoder:
    """The encoder to start from.

    Raises:
        UserError: the checkpoint to go on from cannot serve the objectives, or has another tokenizer.
    """
    body = _new_body(settings, tokenizer.size) if settings.initial is None else _stored_body(settings, tokenizer)
    if isinstance(body.head, NoHead) and "masked" in settings.objectives:
        where = settings.initial or "The model that is asked for"
        raise UserError(f"{where} has no head that guesses words.", "Take one that has it, or leave masked out.")
    return body


def _new_body(settings: PretrainEncoderSettings, vocabulary: int) -> Encoder:
    return cast(Encoder, build_model(encoder_config(settings, vocabulary), settings.seed))


def _stored_body(settings: PretrainEncoderSettings, tokenizer: Tokenizer) -> Encoder:
    assert settings.initial is not None
    checkpoint = load_checkpoint(settings.initial)
    body = checkpoint.model
    if not isinstance(body, Encoder):
        raise UserError(
            f"{settings.initial} is no encoder: {', '.join(settings.objectives)} want a model that looks both ways.",
            "Take an encoder such as BERT, or go on with a language model by the stage pretrain.",
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


def _expect_frequencies(body: Encoder, texts: Mapping[str, tuple[Tokens, float]]) -> None:
    """Let the head's bias begin with the logarithm of how often each token stands in the mixture.

    What takes a small encoder its first hundred steps is known by counting.
    """
    if not isinstance(body.head, MaskedHead):
        return
    size = body.config.vocabulary
    shares = [weight * np.bincount(tokens, minlength=size) / len(tokens) for tokens, weight in texts.values()]
    expected = np.log(np.sum(shares, axis=0) + UNSEEN)
    with torch.no_grad():
        body.head.bias.copy_(torch.from_numpy(expected))


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


def _in_recipe(settings: PretrainEncoderSettings, stages: Mapping[str, Settings]) -> PretrainEncoderSettings:
    check_mixture(settings.corpus, settings.mixture, stages)
    return settings


STAGE = Stage(PretrainEncoderSettings, run, estimate_encoder, in_recipe=_in_recipe)
