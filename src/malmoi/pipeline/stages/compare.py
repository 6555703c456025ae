"""Several models on the same held-out text: their loss along the context, and what a training step costs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt
from rich import box
from rich.table import Table

from malmoi.core.config import Settings
from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.files import write_json
from malmoi.corpus.store import read_documents
from malmoi.evaluate.positions import cut_into_rows, losses_by_position, spans, training_costs
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.gpt import GPT
from malmoi.models.registry import count_parameters
from malmoi.pipeline.stage import Stage, StageInput

RESULT = "compare.json"


class CompareSettings(Settings):
    """Settings of the stage.

    Attributes:
        checkpoints: the models, of one tokenizer; the others are compared with the first.
        corpus: the corpus stage whose held-out text is scored.
        context: tokens in a row; 0 for the shortest context of the models.
        rows: rows at most.
    """

    checkpoints: list[StageInput] = Field(min_length=1)
    corpus: StageInput
    context: int = Field(default=0, ge=0)
    rows: PositiveInt = 16


def run(settings: CompareSettings, directory: Path) -> dict[str, Any]:
    """Score every model and write `compare.json`.

    Raises:
        UserError: two models have different tokenizers, or too little text is held out.
    """
    models: dict[str, GPT] = {}
    vocabulary: dict[str, int] = {}
    for path in settings.checkpoints:
        checkpoint = load_checkpoint(path)
        known = checkpoint.tokenizer.backend.get_vocab()
        if models and known != vocabulary:
            raise UserError(
                f"{path} has another tokenizer than {settings.checkpoints[0]}.",
                "Losses of a token can be compared where the tokens are the same; see bits per byte of `evaluate`.",
            )
        vocabulary, tokenizer = known, checkpoint.tokenizer
        models[path.name] = checkpoint.language_model
    context = settings.context or min(model.config.context for model in models.values())
    texts = [document.text for document in read_documents(settings.corpus, "held_out")]
    rows = cut_into_rows(tokenizer.encode_batch(texts), tokenizer.end, context, settings.rows)
    if not len(rows):
        raise UserError(
            f"{settings.corpus} holds less than {context:,} tokens out.",
            "Give its stage a larger held_out, or set a smaller context here.",
        )
    found: dict[str, dict[str, Any]] = {}
    with progress("scoring held-out text", total=len(models) * len(rows)) as advance:
        for name, model in models.items():
            losses = losses_by_position(model, rows, advance)
            found[name] = {
                "attention": [str(layer) for layer in model.config.attention],
                "parameters": count_parameters(model.config),
                "loss": float(losses.mean()),
                "spans": spans(losses),
            }
    for name, costs in training_costs(models, rows[:1]).items():
        found[name] |= costs
    result = {"context": context, "rows": len(rows), "models": found}
    write_json(directory / RESULT, result)
    _print(found)
    return result


def _print(found: dict[str, dict[str, Any]]) -> None:
    first = next(iter(found.values()))
    table = Table("model", "loss", "of first", "s a step", "of first", "kept MiB", box=box.SIMPLE_HEAD)
    for name, one in found.items():
        table.add_row(
            name,
            f"{one['loss']:.3f}",
            f"{one['loss'] / first['loss']:.3f}",
            f"{one['seconds']:.2f}",
            f"{one['seconds'] / first['seconds']:.2f}",
            f"{one['kept_bytes'] / 2**20:,.0f}",
        )
    console.print(table)


STAGE = Stage(settings=CompareSettings, run=run)
