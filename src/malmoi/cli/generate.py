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
    int8_cache: options.Int8Cache = False,
    examples: Annotated[
        Path | None, typer.Option(help="Solved examples, columns input and output (csv, tsv, jsonl); answer like them.")
    ] = None,
    shots: Annotated[int | None, typer.Option(min=0, help="Show the first so many examples; all by default.")] = None,
) -> None:
    """Continue a text and print it while it grows.

    The text goes to standard output, the speed to standard error. With examples the text is the next input: its answer
    alone is printed, and ends with its line.

    Example: malmoi generate runs/quickstart/pretrain 'Once upon a time' --seed 1
    """
    from malmoi.cli.speed import Speed
    from malmoi.core.config import parse_settings
    from malmoi.core.console import error_console
    from malmoi.evaluate.few_shot import STOP
    from malmoi.generate.generator import generate as generate_pieces
    from malmoi.generate.sampling import SamplingSettings

    values = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed,
        "repetition_penalty": repetition_penalty, "maximum_tokens": maximum_tokens,
        "stop": tuple(stop or (() if examples is None else (STOP,))),
    }  # fmt: skip
    settings = parse_settings(SamplingSettings, values, "the options")
    text = _standard_input() if prompt == "-" else prompt
    asked = text if examples is None and shots is None else _behind_examples(examples, shots, text)
    model, tokenizer = options.open_writer(checkpoint, int8_cache)
    pieces = generate_pieces(model, tokenizer, tokenizer.opening + tokenizer.encode(asked), settings)
    speed = Speed()
    begun = examples is None
    sys.stdout.write(text if begun else "")
    sys.stdout.flush()
    for piece in pieces:
        speed.count(piece)
        shown = piece.text if begun else piece.text.lstrip()
        begun = begun or bool(shown)
        sys.stdout.write(shown)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()
    error_console.print(f"[dim]{speed.words()}[/dim]")


def _standard_input() -> str:
    """What is piped in, whatever its encoding.

    Raises:
        UserError: it is no text.
    """
    from malmoi.core.errors import UserError
    from malmoi.corpus.decode import decode

    text = decode(sys.stdin.buffer.read())
    if text is None:
        raise UserError("What standard input holds is no text.", "Give the text itself, or pipe a text file in.")
    return text.replace("\r\n", "\n")


def _behind_examples(path: Path | None, shots: int | None, text: str) -> str:
    """The prompt that asks for the output of `text` behind the first `shots` examples of a file.

    Raises:
        UserError: there is no file, it has no such columns, or it has fewer examples.
    """
    from malmoi.core.errors import UserError
    from malmoi.data.examples import one_line, read_examples
    from malmoi.evaluate.few_shot import Form

    if path is None:
        raise UserError("--shots says how many examples to show, and there are none.", "Add --examples FILE.")
    found = read_examples(path)
    if shots is not None and shots > len(found):
        raise UserError(f"{path} has {len(found):,} examples, not {shots:,}.", "Lower --shots, or add examples.")
    return Form().prompt(found[:shots], one_line(text)).rstrip()
