"""Train a base model from scratch."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from rich.table import Table

from malmoi.core.config import Settings, parse_settings
from malmoi.core.console import console
from malmoi.core.files import append_json_line, read_json, read_json_lines, write_json
from malmoi.corpus.store import count_documents, read_documents
from malmoi.data.mixture import Mixture
from malmoi.data.store import Tokens, build_token_store, open_token_store
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.generate.generator import complete
from malmoi.generate.sampling import SamplingSettings
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.models.presets import preset
from malmoi.models.registry import count_parameters
from malmoi.objectives.causal import Causal
from malmoi.pipeline.dial import Trial, choose_size, tokens_per_second
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.tokenizers.tokenizer import Tokenizer, load_tokenizer
from malmoi.train.precision import choose_precision
from malmoi.train.trainer import Trainer, TrainerSettings, TrainingResult

PLAN = "plan.json"
SAMPLES = "samples.jsonl"
TOKENS_PER_STEP = 4_096
"""Default size of a step; Muon wants this much at the widths that fit a laptop."""

SAVED_AFTER = 45
"""Seconds of training that a kill may cost."""

FREE_EPOCHS = 4
"""Text read more often than this is learned by heart (Muennighoff and others 2023): the best weights may not be the
last, and are kept."""


class PretrainSettings(Settings):
    """Settings of the stage. What is None is derived; every derived number is printed and kept in `plan.json`.

    Attributes:
        corpus: text.
        tokenizer: a tokenizer stage.
        minutes: time for training, from which size and steps follow when they are not given.
        steps: optimizer steps, instead of what fits into the minutes.
        model: `preset: NAME`, or fields of `GPTConfig`; the rest is derived.
        mixture: source -> share of the tokens; empty means as large as they are.
        context: tokens in a row.
        rows: rows in a micro-batch.
        trainer: fields of `TrainerSettings`; the rest is derived.
        prompts: completed at several checkpoints, so that one sees the model learn.
        samples: at how many checkpoints.
        seed: of weights and of the order of the data.
    """

    corpus: StageInput
    tokenizer: StageInput
    minutes: PositiveFloat = 5
    steps: PositiveInt | None = None
    model: dict[str, Any] = {}
    mixture: dict[str, float] = {}
    context: PositiveInt = 256
    rows: PositiveInt | None = None
    trainer: dict[str, Any] = {}
    prompts: list[str] = []
    samples: NonNegativeInt = 6
    seed: int = 0


def run(settings: PretrainSettings, directory: Path) -> dict[str, Any]:
    """Train into `directory`: `model/`, `metrics.jsonl`, `samples.jsonl`, `plan.json`."""
    tokenizer = load_tokenizer(settings.tokenizer)
    train, held_out = (_tokens(settings, tokenizer, directory, split) for split in ("train", "held_out"))
    plan = _plan(settings, tokenizer, train, directory)
    config, trainer_settings = GPTConfig(**plan["model"]), TrainerSettings(**plan["trainer"])
    slots = trainer_settings.slots
    source = Mixture(train, held_out, settings.mixture, config.context, plan["rows"], slots, settings.seed)
    model = GPT(config)
    initialize(model, settings.seed)
    prompts = settings.prompts or _first_words(settings.corpus)

    def sample(step: int) -> None:
        if step in (0, trainer_settings.steps) or step % plan["sample_every"] < trainer_settings.checkpoint_every:
            _write_samples(model, tokenizer, prompts, step, directory)

    result = Trainer(model, Causal(), source, trainer_settings, directory, sample).run()
    facts = _facts(config, plan, source, result)
    save_checkpoint(directory / "model", model, tokenizer, _card(settings, facts))
    return facts


def _tokens(settings: PretrainSettings, tokenizer: Tokenizer, directory: Path, split: Any) -> dict[str, Tokens]:
    store = directory / "tokens" / split
    documents = read_documents(settings.corpus, split)
    build_token_store(documents, count_documents(settings.corpus, split), tokenizer, store)
    return open_token_store(store)


def _plan(
    settings: PretrainSettings, tokenizer: Tokenizer, train: dict[str, Tokens], directory: Path
) -> dict[str, Any]:
    """The derived numbers, made once: going on after a kill, or repeating the run elsewhere, uses the same."""
    path = directory / PLAN
    if not path.exists():
        write_json(path, _derive(settings, tokenizer, sum(map(len, train.values()))))
    plan: dict[str, Any] = read_json(path)
    _print_plan(plan)
    return plan


def _derive(settings: PretrainSettings, tokenizer: Tokenizer, text_tokens: int) -> dict[str, Any]:
    precision = settings.trainer.get("precision", "auto")
    if precision == "auto":
        precision = choose_precision(torch.device("cpu"))
    rows = settings.rows or max(1, min(32, TOKENS_PER_STEP // settings.context))
    given = _given_model(settings, tokenizer)
    trials: list[Trial] = []
    if given is None:
        trials = choose_size(tokenizer.size, settings.context, rows, settings.minutes * 60, text_tokens, precision)
        chosen = min(trials, key=lambda trial: trial.predicted_loss)
        fields = {
            **chosen.config.model_dump(exclude={"feed_forward", "key_value_heads", "head_width"}),
            **settings.model,
        }
        given, speed = _config(fields), chosen.tokens_per_second
    else:
        speed = 0.0 if settings.steps else tokens_per_second(given, rows, precision)
    slots = settings.trainer.get("slots", 1)
    steps = settings.steps or max(20, int(settings.minutes * 60 * 0.93 * speed / (rows * slots * given.context)))
    sample_every = max(1, steps // max(1, settings.samples - 1))
    longest = SAVED_AFTER * speed / (rows * slots * given.context) or sample_every
    derived = {
        "steps": steps,
        "precision": precision,
        "seed": settings.seed,
        "warm_up": max(1, min(100, steps // 50)),
        "validate_every": max(1, steps // 12),
        "checkpoint_every": max(1, sample_every // math.ceil(sample_every / longest)),
        "keep_best": steps * rows * slots * given.context > FREE_EPOCHS * text_tokens,
    }
    fields = {**derived, **{key: value for key, value in settings.trainer.items() if key != "precision"}}
    trainer = parse_settings(TrainerSettings, fields, "'trainer' of the stage 'pretrain'")
    return {
        "minutes": settings.minutes,
        "rows": rows,
        "sample_every": sample_every,
        "tokens_per_step": rows * slots * given.context,
        "text_tokens": text_tokens,
        "tokens_per_second": round(speed),
        "parameters": count_parameters(given),
        "trials": [
            {
                "layers": trial.config.layers,
                "width": trial.config.width,
                "parameters": trial.parameters,
                "tokens_per_second": round(trial.tokens_per_second),
                "tokens": trial.tokens,
                "epochs": round(trial.epochs, 2),
                "predicted_loss": round(trial.predicted_loss, 3),
            }
            for trial in trials
        ],
        "model": given.model_dump(),
        "trainer": trainer.model_dump(),
    }


def _given_model(settings: PretrainSettings, tokenizer: Tokenizer) -> GPTConfig | None:
    """The model's configuration when the settings fix its size, else None."""
    fields = dict(settings.model)
    name = fields.pop("preset", None)
    if name is None and not {"layers", "width", "heads"} <= set(fields):
        return None
    base = preset(name).model_dump() if name else {}
    return _config({**base, "context": settings.context, **fields, "vocabulary": tokenizer.size})


def _config(fields: dict[str, Any]) -> GPTConfig:
    return parse_settings(GPTConfig, fields, "'model' of the stage 'pretrain'")


def _print_plan(plan: dict[str, Any]) -> None:
    if plan["trials"]:
        table = Table("layers x width", "parameters", "tokens/s", "tokens in the time", "epochs", "predicted", box=None)
        best = min(trial["predicted_loss"] for trial in plan["trials"])
        for trial in plan["trials"]:
            row = (
                f"{trial['layers']} x {trial['width']}",
                f"{trial['parameters']:,}",
                f"{trial['tokens_per_second']:,}",
                f"{trial['tokens']:,}",
                f"{trial['epochs']:.1f}",
                f"{trial['predicted_loss']:.2f}",
            )
            table.add_row(*row, style="bold" if trial["predicted_loss"] == best else "")
        console.print(table)
    trainer = plan["trainer"]
    console.print(
        f"  {plan['parameters']:,} parameters, {trainer['steps']:,} steps of {plan['tokens_per_step']:,} tokens, "
        f"{trainer['precision']}, {trainer['optimizer']}, learning rate {trainer['learning_rate']:g} "
        f"(matrices {trainer['matrix_learning_rate']:g}), warm-up {trainer['warm_up']}, "
        f"cool-down {trainer['cool_down']:.0%}; all of it is in {PLAN}"
    )


def _write_samples(model: GPT, tokenizer: Tokenizer, prompts: list[str], step: int, directory: Path) -> None:
    """Complete every prompt once a step, also when a killed run comes by the same step again."""
    path = directory / SAMPLES
    written = {(line["step"], line["prompt"]) for line in read_json_lines(path)} if path.exists() else set()
    sampling = SamplingSettings(temperature=0.7, top_k=40, seed=0, maximum_tokens=48)
    for prompt in prompts:
        if (step, prompt) not in written:
            text = complete(model, tokenizer, prompt, sampling).text
            append_json_line(path, {"step": step, "prompt": prompt, "text": text})


def _first_words(corpus: Path) -> list[str]:
    """Prompts for somebody who gave none: how three held-out or training documents begin."""
    documents = [*islice(read_documents(corpus, "held_out"), 3), *islice(read_documents(corpus, "train"), 3)]
    return [" ".join(document.text.split()[:4]) for document in documents[:3]]


def _facts(
    config: GPTConfig,
    plan: dict[str, Any],
    source: Mixture,
    result: TrainingResult,
) -> dict[str, Any]:
    """The result of the stage, as the report and the card show it."""
    shares = source.shares(result.steps)
    return {
        "parameters": plan["parameters"],
        "layers": config.layers,
        "width": config.width,
        "context": config.context,
        "steps": result.steps,
        "tokens": result.items,
        "tokens_per_second": round(result.items / max(result.seconds, 1e-9)),
        "training_seconds": round(result.seconds, 1),
        "precision": result.precision,
        "skipped_steps": result.skipped,
        "validation_loss": result.validation_loss,
        "best_loss": result.best_loss,
        "best_step": result.best_step,
        "perplexity": math.exp(result.validation_loss) if result.validation_loss is not None else None,
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
    return (
        f"# A base model of {facts['parameters']:,} parameters\n\n"
        f"Trained from scratch by malmoi: {facts['steps']:,} steps, {facts['tokens']:,} tokens, "
        f"{facts['training_seconds']:.0f} s, {facts['precision']}, seed {settings.seed}. "
        f"Loss on held-out text: {loss}. It continues text; it was not taught to answer.\n\n## Text\n\n{sources}\n"
    )


def estimate(settings: PretrainSettings) -> Estimate:
    """Minutes as set; sizes follow when the text is known."""
    return Estimate(settings.minutes * 60, None, (f"{settings.minutes:g} minutes of training",))


STAGE = Stage(PretrainSettings, run, estimate)
