"""Public weights written down as a checkpoint that says where they came from."""

from __future__ import annotations

from pathlib import Path

import torch

from malmoi.core.console import error_console, verbatim
from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.formats.checkpoint_files import CARD, CONFIG
from malmoi.formats.gguf_file import GGUFFile
from malmoi.formats.weights import open_weights
from malmoi.sources.front_matter import join_front_matter, licence_in, split_front_matter
from malmoi.sources.model_files import READMES
from malmoi.sources.origin import Origin
from malmoi.tokenizers.load import load_tokenizer


def write_model(origin: Origin, directory: Path) -> None:
    """Fetch a model and write it as a checkpoint, in the number format of its weights; dequantised as float32.

    Raises:
        UserError: it cannot be fetched or read, or the disk is full; nothing is left at `directory`.
    """
    path = origin.fetch()
    dtype = torch.float32
    if path.is_dir():
        with open_weights(path) as weights:
            dtype = weights.dtype
    with error_console.status(f"Reading {verbatim(path)}"):
        checkpoint = load_checkpoint(path, dtype)
    with error_console.status(f"Writing {verbatim(directory)}"):
        save_checkpoint(directory, checkpoint.model, checkpoint.tokenizer, _card_of(origin, path, directory.name))


def check_same(directory: Path, origin: Origin) -> None:
    """Make sure that what stands at `directory` is this model, and whole.

    Raises:
        UserError: it is not; nothing is overwritten.
    """
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


def _card_of(origin: Origin, path: Path, name: str) -> str:
    """What card.md says: where the model comes from, its licence, and what it says of itself."""
    folder = path if path.is_dir() else path.parent
    own = next((folder / readme for readme in READMES if origin.described and (folder / readme).is_file()), None)
    fields, text = split_front_matter(own.read_text(encoding="utf-8", errors="replace")) if own else ({}, "")
    licence = origin.licence or licence_in(fields) or _licence_in_file(path)
    about = {**({"license": licence} if licence else {}), "source": origin.source, "revision": origin.revision}
    lines = [
        f"# {name}",
        f"Imported from {origin.source} at {origin.revision}.",
        f"Licence: {licence or 'not stated; look at its source'}.",
        *([f"What it says of itself in {own.name}:\n\n{text.rstrip()}"] if own and text.strip() else []),
    ]
    return join_front_matter(about, "\n\n".join(lines) + "\n")


def _licence_in_file(path: Path) -> str:
    """What a GGUF's metadata says, "" where nothing is said."""
    if path.is_dir():
        return ""
    file = GGUFFile(path)
    stated = licence_in({"license": file.metadata.get("general.license")})
    file.close()
    return stated
