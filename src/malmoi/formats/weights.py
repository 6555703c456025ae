"""Reading safetensors: one file or several with an index, checked before they are trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from malmoi.core.errors import UserError
from malmoi.core.files import read_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Ends of the names of what older files store although it is no weight."""


class Weights:
    """The tensors of a checkpoint directory, opened but not read.

    Attributes:
        shapes: name to shape.
    """

    def __init__(self, files: dict[str, safe_open]) -> None:
        self._places = {name: file for file in files.values() for name in file.keys()}  # type: ignore[no-untyped-call]  # noqa: SIM118
        self.shapes: dict[str, tuple[int, ...]] = {
            name: tuple(file.get_slice(name).get_shape())  # type: ignore[no-untyped-call]
            for name, file in self._places.items()
            if not name.endswith(_BUFFERS)
        }

    def read(self, name: str) -> torch.Tensor:
        """The tensor `name`, in its stored type."""
        tensor: torch.Tensor = self._places[name].get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor


@contextlib.contextmanager
def open_weights(directory: Path) -> Iterator[Weights]:
    """Open `model.safetensors`, or the files that `model.safetensors.index.json` names.

    Raises:
        UserError: there are none, or one is cut short or damaged.
    """
    with contextlib.ExitStack() as stack:
        files = {}
        for path in _files(directory):
            try:
                files[path.name] = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise UserError(
                    f"{path} cannot be read as safetensors: {error}.", "It is cut short or damaged: get it again."
                ) from None
        yield Weights(files)


def _files(directory: Path) -> list[Path]:
    single, index = directory / SINGLE, directory / INDEX
    if single.is_file():
        return [single]
    if not index.is_file():
        raise UserError(f"There is no {SINGLE} in {directory}.", "Is this the directory of a checkpoint?")
    content = read_json(index)
    names = set(content["weight_map"].values()) if isinstance(content, dict) and "weight_map" in content else set()
    if not names:
        raise UserError(f"{index} names no files.", "Get the checkpoint again.")
    for name in sorted(names, key=str):
        if not isinstance(name, str) or Path(name).name != name or not (directory / name).is_file():
            raise UserError(f"{index} names {name!r}, which is no file beside it.", "Get the checkpoint again.")
    return [directory / name for name in sorted(names)]
