"""`malmoi generate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli import options


def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, a stage's directory, or a GGUF file.")],
    prompt: Annotated[str, typer.Argument(help="The text to continue; '-' reads it from standard input.")],
    temperature: options.Temperature = 0.8,
    top_k: options.TopK = 0,
    top_p: options.TopP = 0.95,
    min_p: options.MinP = 0.0,
    repetition_penalty: options.Penalty = 1.0,
    seed: options.Seed = None,
    maximum_tokens: options.MaximumTokens = 200,
    stop: options.Stop = None,
) -> None:
    """Continue a text and print it while it grows.

    The text goes to standard output, the speed to standard error.

    Example: malmoi generate runs/quickstart/pretrain 'Once upon a time' --seed 1
    """
    from malmoi.cli.speed import Speed
    from malmoi.core.config import parse_settings
    from malmoi.core.console import error_console
    from malmoi.generate.generator import generate as generate_pieces
    from malmoi.generate.sampling import SamplingSettings

    values = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed,
        "repetition_penalty": repetition_penalty, "maximum_tokens": maximum_tokens, "stop": tuple(stop or ()),
    }  # fmt: skip
    settings = parse_settings(SamplingSettings, values, "the options")
    text = sys.stdin.read() if prompt == "-" else prompt
    model, tokenizer = options.open_checkpoint(checkpoint)
    pieces = generate_pieces(model, tokenizer, tokenizer.encode(text), settings)
    speed = Speed()
    sys.stdout.write(text)
    sys.stdout.flush()
    for piece in pieces:
        speed.count(piece)
        sys.stdout.write(piece.text)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()
    error_console.print(f"[dim]{speed.words()}[/dim]")
