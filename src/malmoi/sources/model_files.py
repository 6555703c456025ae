"""Which files make up a model as it is published, whether in a folder, on a hub or in a package."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from malmoi.core.errors import UserError
from malmoi.core.files import read_json

CONFIG = "config.json"
WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""One file, or the index of several; of those that are there the first is read."""

READMES = ("README.md", "card.md")
_BESIDE = {
    CONFIG, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja", "chat_template.json",
    "source.spm", "target.spm", *READMES,
}  # fmt: skip
_VOCABULARIES = (".model", ".tiktoken")
_SHOWN = 3


def files_beside(names: Collection[str]) -> list[str]:
    """Those of `names` that a model needs besides its weights: configuration, tokenizer, what it says of itself."""
    return sorted(name for name in names if is_plain(name) and (name in _BESIDE or name.endswith(_VOCABULARIES)))


def weights_file(names: Collection[str], where: str) -> str:
    """The one of `names` that holds the weights, or is the index of those that do.

    Args:
        where: the place that has these files, in words that may be followed by "/FILE".

    Raises:
        UserError: there is none, or no configuration; names what there is instead.
    """
    found = next((name for pair in WEIGHTS for name in pair if name in names), None)
    if found and CONFIG in names:
        return found
    gguf = sorted(name for name in names if name.endswith(".gguf"))
    if gguf:
        more = f" (and {len(gguf) - _SHOWN} more)" if len(gguf) > _SHOWN else ""
        raise UserError(
            f"{where} holds GGUF files: {', '.join(gguf[:_SHOWN])}{more}.", f"Name one of them: {where}/{gguf[0]}"
        )
    if found:
        raise UserError(f"{where} has weights but no {CONFIG}.", "Take the whole folder of a model.")
    others = sorted(name for name in names if re.search(r"\.(h5|msgpack|ot|onnx|safetensors|bin|pt|pth)$", name))
    what = f"; it has {', '.join(others[:_SHOWN])}" if others else ""
    raise UserError(
        f"{where} holds no {WEIGHTS[0][0]} and no {WEIGHTS[1][0]}{what}.", "Take a model that is published as one."
    )


def shards_of(index: Path) -> list[str]:
    """The names of the files that an index names, each a plain name.

    Raises:
        UserError: it names none, or something that is no plain name.
    """
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index} names no files.", "Get the checkpoint again.")
    for name in places.values():
        if not isinstance(name, str) or not is_plain(name):
            raise UserError(f"{index} names {name!r}, which is no file beside it.", "Get the checkpoint again.")
    return sorted(set(places.values()))


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in the folder itself, on any system."""
    return name not in ("", ".", "..") and not re.search(r"[/\\:\0]", name)
