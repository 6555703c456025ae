"""`malmoi export`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from malmoi.core.errors import UserError


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, a stage's directory, or a GGUF file.")],
    to: Annotated[str, typer.Option(help="gguf for llama.cpp and Ollama; onnx for encoders and classifiers.")] = "gguf",
    type_name: Annotated[
        str, typer.Option("--type", help="Type of GGUF's matrices: f32, f16, q8_0, q4_0 or q4_1.")
    ] = "f16",
    out: Annotated[
        Path | None, typer.Option(help="File or folder; CHECKPOINT-TYPE.gguf or CHECKPOINT-onnx here by default.")
    ] = None,
) -> None:
    """Write a model for other programs.

    gguf is one file with tokenizer and chat template, and a Modelfile for Ollama beside it; onnx a folder.

    Example: malmoi export runs/quickstart/instruct --to gguf --type q8_0
    """
    if to == "gguf":
        _to_gguf(checkpoint, type_name, out or Path(f"{_name(checkpoint)}-{type_name}.gguf"))
    elif to == "onnx":
        _to_onnx(checkpoint, out or Path(f"{_name(checkpoint)}-onnx"))
    else:
        raise UserError(f"There is no format {to!r} to export to.", "Known: gguf, onnx.")


def _to_gguf(checkpoint: Path, type_name: str, path: Path) -> None:
    from malmoi.cli.options import find_checkpoint, read_checkpoint
    from malmoi.core.console import console
    from malmoi.core.files import expect_writable
    from malmoi.formats.checkpoint import read_config
    from malmoi.formats.gguf_export import check_export, export_gguf
    from malmoi.formats.modelfile import write_modelfile

    check_export(read_config(find_checkpoint(checkpoint)), path, type_name)
    modelfile = path.with_suffix(".Modelfile")
    if modelfile.is_dir():
        raise UserError(f"{modelfile} is a folder.", "Name another file with --out.")
    expect_writable(path)
    opened = read_checkpoint(checkpoint)
    model, tokenizer = opened.language_model, opened.tokenizer
    export_gguf(model, tokenizer, path, type_name, opened.licence)
    written = write_modelfile(modelfile, path, tokenizer, model.config.context)
    beside = f"and {modelfile} are written" if written else f"is written, and {modelfile}, which differs, left as it is"
    size, name = path.stat().st_size / 1e6, quote(path.stem)
    lines = (
        f"{path}, {size:,.1f} MB, {beside}. To run it:",
        f"  llama-server --model {quote(str(path))}",
        f"  ollama create {name} --file {quote(str(modelfile))} && ollama run {name}",
    )
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _to_onnx(checkpoint: Path, directory: Path) -> None:
    from malmoi.cli.options import read_checkpoint
    from malmoi.core.console import console
    from malmoi.formats.onnx_export import FILE, check_folder, export_onnx

    check_folder(directory)
    opened = read_checkpoint(checkpoint)
    export_onnx(opened.model, opened.tokenizer, directory)
    size = (directory / FILE).stat().st_size / 1e6
    console.print(f"{directory / FILE}, {size:,.1f} MB, is written.", markup=False, soft_wrap=True)


def _name(checkpoint: Path) -> str:
    """What the user calls a checkpoint: its folder's name, the stage's where it is the model in a stage."""
    whole = checkpoint.resolve()
    if whole.is_file():
        return whole.stem
    return whole.parent.name if whole.name == "model" else whole.name
