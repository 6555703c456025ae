"""`malmoi export`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from malmoi.core.errors import UserError


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, a stage's directory, or a GGUF file.")],
    to: Annotated[str, typer.Option(help="The format; gguf is the one of llama.cpp and Ollama.")] = "gguf",
    type_name: Annotated[str, typer.Option("--type", help="Of the matrices: f32, f16, q8_0 or q4_0.")] = "f16",
    out: Annotated[Path | None, typer.Option(help="The file, CHECKPOINT-TYPE.gguf here by default.")] = None,
) -> None:
    """Write a model for other programs: a GGUF file with tokenizer and chat template, and a Modelfile for Ollama.

    Example: malmoi export runs/quickstart/instruct --to gguf --type q8_0
    """
    if to != "gguf":
        raise UserError(f"There is no format {to!r} to export to.", "Known: gguf.")
    from malmoi.cli.options import open_checkpoint
    from malmoi.core.console import console
    from malmoi.formats.checkpoint import read_config
    from malmoi.formats.gguf_export import check_export, export_gguf
    from malmoi.formats.modelfile import write_modelfile

    path = out or Path(f"{_name(checkpoint)}-{type_name}.gguf")
    check_export(read_config(checkpoint), path, type_name)
    model, tokenizer = open_checkpoint(checkpoint)
    export_gguf(model, tokenizer, path, type_name)
    modelfile = path.with_suffix(".Modelfile")
    write_modelfile(modelfile, path, tokenizer, model.config.context)
    size, file, name = path.stat().st_size / 1e6, quote(str(path)), quote(path.stem)
    lines = (
        f"{path}, {size:,.1f} MB, and {modelfile} are written. To run it:",
        f"  llama-server --model {file}",
        f"  ollama create {name} --file {quote(str(modelfile))} && ollama run {name}",
    )
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _name(checkpoint: Path) -> str:
    """What the user calls a checkpoint: its folder's name, the stage's where it is the model in a stage."""
    whole = checkpoint.resolve()
    if whole.is_file():
        return whole.stem
    return whole.parent.name if whole.name == "model" else whole.name
