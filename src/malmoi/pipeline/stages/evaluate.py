"""Bits per byte of a base model on held-out text, beside simple models and compressors."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field
from rich import box
from rich.table import Table as RichTable

from malmoi.core.accelerator import pick_device
from malmoi.core.config import Settings
from malmoi.core.console import console, progress, verbatim
from malmoi.core.errors import UserError
from malmoi.core.files import append_json_line, read_json_lines, write_json
from malmoi.corpus.store import read_documents
from malmoi.evaluate.held_out import ALL, Table, compare, thin_out
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.pipeline.stage import Stage, StageInput

COUNTED = (
    "Every token of every held-out document, once; the vocabulary's token for the beginning of a text, or else "
    "end-of-text, stands before a document as context and is not scored. "
    "Bits are divided by the UTF-8 bytes of the text. Bytes that the tokenizer cannot spell cost 8 bits each. "
    "n-gram models are counted on the training text; compressors see only the held-out text."
)
MEBIBYTE = 2**20


class EvaluateSettings(Settings):
    """Settings of the stage.

    Attributes:
        checkpoint: the model; a stage that makes one, a checkpoint directory or a .gguf file.
        corpus: the corpus stage whose held-out text is scored.
        stride: how many new tokens each window scores after a document's first; 0 means half the context.
        held_out_mebibytes: about how much held-out text is scored at most, evenly from all of it.
        train_mebibytes: about how much training text the n-gram models count at most, evenly from all of it.
    """

    checkpoint: StageInput
    corpus: StageInput
    stride: int = Field(default=0, ge=0)
    held_out_mebibytes: float = Field(default=2.0, gt=0)
    train_mebibytes: float = Field(default=128.0, gt=0)


def run(settings: EvaluateSettings, directory: Path) -> dict[str, Any]:
    """Score the model and its controls, write `bits_per_byte.json` and the checkpoint's `samples.jsonl`.

    Raises:
        UserError: the corpus holds nothing out.
    """
    read = partial(read_documents, settings.corpus)
    held_out, step = thin_out(lambda: read("held_out"), round(settings.held_out_mebibytes * MEBIBYTE))
    if not any(document.text for document in held_out):
        raise UserError(
            f"{settings.corpus} holds no text out, so there is nothing to evaluate on.",
            "Give the corpus stage a larger held_out, or more text.",
        )
    train, train_step = thin_out(lambda: read("train"), round(settings.train_mebibytes * MEBIBYTE))
    checkpoint = load_checkpoint(settings.checkpoint).to(pick_device())
    model, tokenizer = checkpoint.language_model, checkpoint.tokenizer
    if settings.stride > model.config.context:
        raise UserError(
            f"stride={settings.stride} is more than the model's context of {model.config.context} tokens.",
            "Choose a stride between 1 and the context, or 0 for half of it.",
        )
    with progress("scoring held-out text", total=1.0) as advance:
        table, scored = compare(model, tokenizer, held_out, train, settings.stride, advance)
    _print(table)
    _copy_samples(settings.checkpoint, directory)
    result = {
        "bits_per_byte": table[ALL]["model"],
        "below_bigram": below_bigram(table, ALL),
        "table": table,
        "scored": {
            source: {"tokens": cost.tokens, "bytes": cost.bytes, "nats_per_token": cost.nats / max(1, cost.tokens)}
            for source, cost in scored.items()
        },
        "documents": len(held_out),
        "every": step,
        "train_every": train_step,
        "counted": COUNTED,
    }
    write_json(directory / "bits_per_byte.json", result)
    return result


def below_bigram(table: Table, source: str) -> float:
    """How far the model is below the bigram model, as a share of the bigram's bits."""
    return 1 - table[source]["model"] / table[source]["bigram"]


def _copy_samples(checkpoint: Path, directory: Path) -> None:
    """Take over what the model wrote while it was trained, and show its last words."""
    path = checkpoint / "samples.jsonl"
    if not path.is_file():
        return
    samples = list(read_json_lines(path))
    (directory / "samples.jsonl").unlink(missing_ok=True)
    for sample in samples:
        append_json_line(directory / "samples.jsonl", sample)
    last = max((sample["step"] for sample in samples), default=0)
    for sample in samples:
        if sample["step"] == last:
            text = sample["text"].removeprefix(sample["prompt"])
            console.print(f"  [bold]{verbatim(sample['prompt'])}[/bold]{verbatim(text)}")


def _print(table: Table) -> None:
    names = list(table[ALL])
    shown = RichTable("bits\nper byte", *names, "below\nbigram", box=box.SIMPLE_HEAD, padding=0)
    for column in shown.columns[1:]:
        column.justify, column.vertical, column.no_wrap = "right", "bottom", True
    for source, row in table.items():
        style = "bold" if source == ALL else None
        figures = ["" if math.isnan(row[name]) else f"{row[name]:.3f}" for name in names]
        shown.add_row(verbatim(source), *figures, f"{100 * below_bigram(table, source):.0f} %", style=style)
    console.print(shown)


STAGE = Stage(
    settings=EvaluateSettings,
    run=run,
    figures=("bits_per_byte", "below_bigram", "documents", "every", "train_every"),
)
