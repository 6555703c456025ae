"""Train a base model from scratch, of any family of language models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.corpus.store import Split
from malmoi.data.mixture import Mixture
from malmoi.data.shares import share_out
from malmoi.data.store import TokenSequence
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.initialize import initialize
from malmoi.models.language_model import LanguageModel, LanguageModelConfig
from malmoi.models.registry import language_models, meta_model
from malmoi.objectives.causal import Causal
from malmoi.pipeline.corpus_settings import check_mixture
from malmoi.pipeline.corpus_tokens import all_tokens, mixed_for
from malmoi.pipeline.costs import ASSUMED_VOCABULARY
from malmoi.pipeline.pretraining.dial import SIZES
from malmoi.pipeline.pretraining.estimate import estimate
from malmoi.pipeline.pretraining.fit import settle_memory
from malmoi.pipeline.pretraining.model import given_config, likely_config, sized_config
from malmoi.pipeline.pretraining.plan import derive_plan, keep_steps
from malmoi.pipeline.pretraining.settings import PretrainSettings
from malmoi.pipeline.pretraining.show import print_plan
from malmoi.pipeline.prompts import first_words, write_samples
from malmoi.pipeline.stage import Stage
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.opening import opened_with_end
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.recompute import recomputing
from malmoi.train.result import TrainingResult, perplexity
from malmoi.train.samples import Samples
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

PLAN = "plan.json"

DERIVED = (
    "optimizer",
    "learning_rate",
    "matrix_learning_rate",
    "embedding_learning_rate",
    "head_learning_rate",
    "precision",
    "slots",
)
"""Fields of the trainer that follow from machine and shape and from nothing else."""


FIGURES = (
    "validation_loss",
    "best_loss",
    "perplexity",
    "best_step",
    "parameters",
    "layers",
    "width",
    "context",
    "steps",
    "tokens",
    "tokens_per_second",
    "training_seconds",
    "skipped_steps",
)
"""Numbers of the result."""


def run(settings: PretrainSettings, directory: Path) -> dict[str, Any]:
    """Train into `directory`: `model/`, `metrics.jsonl`, `samples.jsonl`, `plan.json`."""
    tokenizer, initial = _beginning(settings)
    train, held_out = (_tokens(settings, tokenizer, directory, split) for split in ("train", "held_out"))
    plan = _plan(settings, tokenizer.size, train, initial, directory / PLAN)
    config, trainer_settings = language_models()[plan["family"]](**plan["model"]), TrainerSettings(**plan["trainer"])
    slots = trainer_settings.slots
    weights = _weights(settings, train, trainer_settings.steps * slots * plan["rows"] * plan["context"])
    source = Mixture(train, held_out, weights, plan["context"], plan["rows"], slots, settings.seed, settings.row)
    model = initial or _new_model(config)
    prompts = settings.prompts or first_words(settings.corpus)

    def sample(step: int) -> None:
        write_samples(model, tokenizer, prompts, settings.sample_tokens, step, directory)

    samples = Samples(settings.samples, sample)
    first_weights = partial(initialize, seed=settings.seed, embedding_deviation=settings.embedding_deviation)
    trainer = Trainer(model, Causal(), source, trainer_settings, directory, samples, None if initial else first_weights)
    result = trainer.run()
    keep_steps(directory / PLAN, trainer.settings)
    facts = _facts(config, plan, source, result)
    save_checkpoint(directory / "model", model, tokenizer, _card(settings, facts))
    return facts


def _beginning(settings: PretrainSettings) -> tuple[Tokenizer, LanguageModel | None]:
    """The tokenizer, and the model to go on from, if there is to be one.

    Raises:
        UserError: they do not belong together, or no block of the model has what is to be recomputed.
    """
    tokenizer = load_tokenizer(settings.tokenizer)
    if settings.row == "document":
        tokenizer = opened_with_end(tokenizer)
    initial = _initial(settings, tokenizer)
    model = meta_model(initial.config if initial else likely_config(settings, tokenizer.size))
    with recomputing(model, settings.trainer.get("recompute", "")):
        return tokenizer, initial


def _tokens(
    settings: PretrainSettings, tokenizer: Tokenizer, directory: Path, split: Split
) -> dict[str, TokenSequence]:
    return all_tokens(settings.corpus, tokenizer, directory, split, settings.stores)


def _new_model(config: LanguageModelConfig) -> LanguageModel:
    """Shapes without memory."""
    model = meta_model(config)
    assert isinstance(model, LanguageModel)
    return model


def _weights(settings: PretrainSettings, train: Mapping[str, TokenSequence], total: int) -> dict[str, float]:
    """The weights of the sources in `total` tokens, none read more often than the limit."""
    weights = settings.mixture or mixed_for(settings.corpus)
    if settings.most_epochs is None:
        return weights
    sizes = {name: len(tokens) for name, tokens in train.items()}
    return {name: share.share for name, share in share_out(weights, sizes, total, settings.most_epochs).items()}


def _plan(
    settings: PretrainSettings,
    vocabulary: int,
    train: Mapping[str, TokenSequence],
    initial: LanguageModel | None,
    path: Path,
) -> Any:
    """The derived numbers, made once: going on after a kill, or repeating the run elsewhere, uses the same.

    At the end they have the number of steps that the minutes really held.

    Raises:
        UserError: a source of the mixture does not exist or is too small, before anything is measured; and as
            `derive_plan`.
    """
    if not path.exists():
        config = initial.config if initial else None
        context = min(settings.context, (config or likely_config(settings, vocabulary)).context)
        weights = settings.mixture or mixed_for(settings.corpus)
        sources = Mixture(train, {}, weights, context, rows=1, row=settings.row).weights
        settings = settle_memory(settings)
        text_tokens = sum(len(train[name]) for name in sources)
        write_json(path, {"memory": settings.memory, **derive_plan(settings, vocabulary, text_tokens, config)})
    plan = read_json(path)
    print_plan(plan)
    return plan


def _initial(settings: PretrainSettings, tokenizer: Tokenizer) -> LanguageModel | None:
    """The model to go on from, if there is to be one."""
    if settings.initial is None:
        return None
    checkpoint = load_checkpoint(settings.initial)
    if checkpoint.tokenizer.backend.get_vocab() != tokenizer.backend.get_vocab():
        raise UserError(
            f"{settings.initial} was trained with another tokenizer than {settings.tokenizer}.",
            f"Set tokenizer={settings.initial / 'model'}.",
        )
    return checkpoint.language_model


def _facts(
    config: LanguageModelConfig,
    plan: dict[str, Any],
    source: Mixture,
    result: TrainingResult,
) -> dict[str, Any]:
    """The result of the stage, as the report and the card show it."""
    shares = source.shares(result.steps)
    return {
        "family": plan["family"],
        "parameters": plan["parameters"],
        "layers": config.layers,
        "width": config.width,
        "context": plan["context"],
        "steps": result.steps,
        "tokens": result.items,
        "tokens_per_second": round(result.items / max(result.seconds, 1e-9)),
        "training_seconds": round(result.seconds, 1),
        "precision": result.precision,
        "skipped_steps": result.skipped,
        "validation_loss": result.validation_loss,
        "best_loss": result.best_loss,
        "best_step": result.best_step,
        "perplexity": perplexity(result.validation_loss),
        "mixture": {
            name: {"weight": share.weight, "share": share.share, "epochs": share.epochs}
            for name, share in shares.items()
        },
    }


def _card(settings: PretrainSettings, facts: dict[str, Any]) -> str:
    sources = "\n".join(
        f"- {name}: {row['share']:.1%} of the tokens, {row['epochs']:.2f} epochs"
        for name, row in facts["mixture"].items()
    )
    loss = "not measured" if facts["validation_loss"] is None else f"{facts['validation_loss']:.4f} nats a token"
    beginning = "from scratch" if settings.initial is None else "from another checkpoint"
    return (
        f"# A base model of {facts['parameters']:,} parameters\n\n"
        f"Trained {beginning} by malmoi: {facts['steps']:,} steps, {facts['tokens']:,} tokens, "
        f"{facts['training_seconds']:.0f} s, {facts['precision']}, seed {settings.seed}. "
        f"Loss on held-out text: {loss}. It continues text; it was not taught to answer.\n\n## Text\n\n{sources}\n"
    )


def settle(settings: PretrainSettings, directory: Path) -> PretrainSettings:
    """The settings with size, rates and amount of text as they are derived here."""
    tokenizer, initial = _beginning(settings)
    train = _tokens(settings, tokenizer, directory, "train")
    plan = _plan(settings, tokenizer.size, train, initial, directory / PLAN)
    derived = {name: plan["trainer"][name] for name in DERIVED if plan["trainer"][name] is not None}
    shape = {name: value for name, value in plan["model"].items() if name not in ("vocabulary", "context")}
    return settings.model_copy(
        update={
            "steps": None,
            "tokens": plan["trainer"]["steps"] * plan["tokens_per_step"],
            "rows": plan["rows"],
            "model": shape if plan["trials"] else settings.model,
            "trainer": derived | settings.trainer,
        }
    )


def _check(settings: PretrainSettings) -> None:
    if settings.initial is None and given_config(settings, ASSUMED_VOCABULARY) is None:
        for size in SIZES[:2]:  # the dial measures two at the least
            sized_config(settings, ASSUMED_VOCABULARY, *size)


def _in_recipe(settings: PretrainSettings, stages: Mapping[str, Settings]) -> PretrainSettings:
    if not settings.stores:  # they may have sources of their own
        check_mixture(settings.corpus, settings.mixture, stages)
    return settings


STAGE = Stage(PretrainSettings, run, estimate, _check, _in_recipe, settle, FIGURES)
