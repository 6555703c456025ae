"""Several models on the same held-out text: their loss along the context, and what training and generating cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt
from rich import box
from rich.table import Table

from malmoi.core.accelerator import pick_device
from malmoi.core.config import Settings
from malmoi.core.console import console, progress, verbatim
from malmoi.core.errors import UserError
from malmoi.core.files import by_name, read_json, read_json_lines, write_json
from malmoi.corpus.store import read_documents
from malmoi.evaluate.bits_per_byte import CodeLength, document_nats, encode_texts
from malmoi.evaluate.generation import generation_costs
from malmoi.evaluate.positions import cut_into_rows, losses_by_position, spans, training_costs
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.language_model import LanguageModel
from malmoi.models.registry import count_parameters, family_name
from malmoi.pipeline.stage import Stage, StageInput
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.metrics import FILE as METRICS

RESULT = "compare.json"


class CompareSettings(Settings):
    """Settings of the stage.

    Attributes:
        checkpoints: the models, of one tokenizer; the others are compared with the first.
        corpus: the corpus stage whose held-out text is scored.
        context: tokens in a row; 0 for the shortest context of the models.
        rows: rows at most.
        step_rows: rows of the training step that is timed.
        generation: lengths in tokens at which generation is timed, such as [512, 8192]; bits per byte of the whole
            held-out text are given with it.
    """

    checkpoints: list[StageInput] = Field(min_length=1)
    corpus: StageInput
    context: int = Field(default=0, ge=0)
    rows: PositiveInt = 16
    step_rows: PositiveInt = 1
    generation: list[PositiveInt] = []


def run(settings: CompareSettings, directory: Path) -> dict[str, Any]:
    """Score every model and write `compare.json`.

    Raises:
        UserError: two models have different tokenizers, too little text is held out, or generation cannot be timed.
    """
    paths = by_name(settings.checkpoints)
    models, tokenizer = _models(paths)
    context = settings.context or min(model.config.context for model in models.values())
    texts = [document.text for document in read_documents(settings.corpus, "held_out")]
    rows = cut_into_rows(tokenizer.encode_batch(texts), tokenizer.end, context, settings.rows)
    if not len(rows):
        raise UserError(
            f"{settings.corpus} holds less than {context:,} tokens out.",
            "Give its stage a larger held_out, or set a smaller context here.",
        )
    found: dict[str, dict[str, Any]] = {}
    for name, costs in _generation(models, tokenizer, texts, settings.generation).items():
        found[name] = costs  # first, since it may refuse
    with progress("scoring held-out text", total=len(models) * len(rows)) as advance:
        for name, model in models.items():
            losses = losses_by_position(model, rows, advance)
            found[name] |= {
                "family": family_name(model.config),
                "mixing": model.config.mixing,
                "parameters": count_parameters(model.config),
                "loss": float(losses.mean()),
                "spans": spans(losses),
            }
    for name, costs in training_costs(models, rows[: settings.step_rows]).items():
        found[name] |= costs
    for name, path in paths.items():
        found[name] |= _training(path)
    step_tokens = min(settings.step_rows, len(rows)) * context
    result = {
        "context": context,
        "rows": len(rows),
        "step_tokens": step_tokens,
        "generation": settings.generation,
        "models": found,
    }
    write_json(directory / RESULT, result)
    _print(found)
    if settings.generation:
        _print_generation(found, step_tokens)
    return result


def _models(paths: Mapping[str, Path]) -> tuple[dict[str, LanguageModel], Tokenizer]:
    """The models by the names of their paths, and the tokenizer that they share."""
    models: dict[str, LanguageModel] = {}
    vocabulary: dict[str, int] = {}
    for name, path in paths.items():
        checkpoint = load_checkpoint(path).to(pick_device())
        known = checkpoint.tokenizer.backend.get_vocab()
        if models and known != vocabulary:
            raise UserError(
                f"{path} has another tokenizer than {next(iter(paths.values()))}.",
                "Losses of a token can be compared where the tokens are the same; see bits per byte of `evaluate`.",
            )
        vocabulary, tokenizer = known, checkpoint.tokenizer
        models[name] = checkpoint.language_model
    return models, tokenizer


def _generation(
    models: Mapping[str, LanguageModel], tokenizer: Tokenizer, texts: Sequence[str], lengths: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Bits per byte of the whole text and the costs of generation, where lengths are asked for."""
    if not lengths:
        return {name: {} for name in models}
    encoded = encode_texts(tokenizer, texts)
    tokens = [text.tokens for text in encoded]
    found = {}
    with progress("timing generation", total=len(models) * len(lengths)) as advance:
        costs = generation_costs(models, [token for one in tokens for token in one], lengths, advance)
    with progress("bits per byte", total=len(models) * sum(map(len, tokens))) as advance:
        for name, model in models.items():
            nats = document_nats(model, tokens, tokenizer.start, advance=advance)
            code = sum(
                (text.code_length(cost) for text, cost in zip(encoded, nats, strict=True)), CodeLength(0.0, 0, 0)
            )
            found[name] = {"bits_per_byte": code.bits_per_byte, "generation": costs[name]}
    return found


def _training(path: Path) -> dict[str, Any]:
    """What a stage that trained the model says of it: its time, and the loss on held-out text over it.

    Processor seconds are those of the steps alone, without validation and samples: what "trained equally long" means on
    a machine that does other things too.
    """
    record, metrics = path / "stage.json", path / METRICS
    result = (read_json(record).get("result") or {}) if record.is_file() else {}
    found = {key: result[key] for key in ("training_seconds", "tokens", "tokens_per_second") if key in result}
    if metrics.is_file():
        lines = list(read_json_lines(metrics))
        seconds = {line["step"]: line["seconds"] for line in lines if "seconds" in line}
        validated = [line for line in lines if line.get("validation_loss") is not None and line["step"] in seconds]
        worked = [line["processor_seconds"] for line in lines if "processor_seconds" in line]
        found |= {"training_processor_seconds": round(sum(worked), 1)} if worked else {}
        found["learning"] = [(seconds[line["step"]], line["validation_loss"]) for line in validated]
    return found


def _print(found: dict[str, dict[str, Any]]) -> None:
    first = next(iter(found.values()))
    table = Table("model", "loss", "of first", "s a step", "of first", "kept MiB", box=box.SIMPLE_HEAD)
    for name, one in found.items():
        table.add_row(
            verbatim(name),
            f"{one['loss']:.3f}",
            f"{one['loss'] / first['loss']:.3f}",
            f"{one['seconds']:.2f}",
            f"{one['seconds'] / first['seconds']:.2f}",
            f"{one['kept_bytes'] / 2**20:,.0f}",
        )
    console.print(table)


def _print_generation(found: dict[str, dict[str, Any]], step_tokens: int) -> None:
    """Seconds are of processor time, as in the table above."""
    table = Table("model", "weights", "bits per\nbyte", "trained\ns", "tokens/s", box=box.SIMPLE_HEAD, padding=0)
    lengths = next(iter(found.values()))["generation"]
    for length in lengths:
        table.add_column(f"writes\nat {int(length):,}")
        table.add_column("cache\nKiB")
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for name, one in found.items():
        costs = [
            figure
            for cost in one["generation"].values()
            for figure in (f"{cost['tokens_per_second']:,.0f}/s", f"{cost['bytes'] / 2**10:,.0f}")
        ]
        speed = f"{step_tokens / one['seconds']:,.0f}"
        trained = f"{one['training_processor_seconds']:,.0f}" if "training_processor_seconds" in one else ""
        table.add_row(verbatim(name), f"{one['parameters']:,}", f"{one['bits_per_byte']:.3f}", trained, speed, *costs)
    console.print(table)


STAGE = Stage(settings=CompareSettings, run=run)
