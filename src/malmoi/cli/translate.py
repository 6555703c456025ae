"""`malmoi translate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli import options
from malmoi.core.errors import UserError


def translate(
    checkpoint: Annotated[Path, typer.Argument(help="A translator: your own, or a checkpoint of T5 or Marian.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Without any, every line of standard input is one.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with a text a line, instead of texts.")] = None,
    into: Annotated[str, typer.Option(help="Language to write, of a model that writes several: deu, kor.")] = "",
    prefix: Annotated[str, typer.Option(help="Words before every text that tell a T5 its task.")] = "",
    beams: Annotated[
        int | None,
        typer.Option(min=1, help="Beginnings that the search keeps, 1 for no search; as the model says by default."),
    ] = None,
    maximum_tokens: options.MaximumTokens = None,
) -> None:
    """Translate texts: a line each, in their order, as soon as it is there.

    Example: malmoi translate models/opus-mt-en-de 'The fox lives in the wood.'
    """
    from malmoi.generate.translate import ROWS, opening, read_lines, translate_lines

    if texts and file:
        raise UserError("There are texts and a file.", "Give one of them.")
    opened = options.open_checkpoint(checkpoint)
    model, tokenizer = opened.translator, opened.tokenizer
    before = opening(tokenizer, into, prefix)
    lines = texts or (read_lines(file) if file else sys.stdin)
    rows = 1 if not texts and not file and sys.stdin.isatty() else ROWS
    for target in translate_lines(model, tokenizer, lines, before, maximum_tokens, rows, beams):
        print(target, flush=True)
