"""Which files a checkpoint's directory holds, and what its configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.formats.families.decoding import DECODING
from malmoi.formats.family import Fields

CONFIG = "config.json"
GENERATION = "generation_config.json"
CARD = "card.md"


def checkpoint_directory(path: Path) -> Path:
    """Where the files of a checkpoint lie: `path` itself, or `model/` of a stage.

    Raises:
        UserError: there are none.
    """
    if not path.exists():
        raise UserError(f"There is no folder {path}.", "Check the path.")
    directory = path if (path / CONFIG).is_file() else path / "model"
    if not (directory / CONFIG).is_file():
        raise UserError(f"There is no checkpoint in {path}: it holds no {CONFIG}.", "Check the path.")
    return directory


def read_fields(directory: Path) -> dict[str, Any]:
    """What config.json says, and of decoding also what generation_config.json does.

    Raises:
        UserError: a file is no JSON, or of another form.
    """
    fields = read_json(directory / CONFIG)
    if not isinstance(fields, dict):
        raise UserError(f"{directory / CONFIG} does not hold a JSON object.", "Get the checkpoint again.")
    if not isinstance(fields.get("architectures") or [], list):
        raise UserError(f"The architectures in {directory / CONFIG} are no list.", "Get the checkpoint again.")
    generation = read_json(directory / GENERATION) if (directory / GENERATION).is_file() else {}
    decoding = decoding_fields(generation if isinstance(generation, dict) else {})
    return fields | {name: value for name, value in decoding.items() if fields.get(name) is None}


def decoding_fields(fields: Fields) -> dict[str, Any]:
    """Those of the fields that `transformers` looks for in generation_config.json too."""
    return {name: fields[name] for name in DECODING if name in fields}
