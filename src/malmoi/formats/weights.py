"""Reading weights: safetensors or PyTorch state dicts, one file or several with an index, checked before trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open

from malmoi.core.errors import UserError
from malmoi.core.tensor_file import TYPES
from malmoi.formats.state_dict import StateDict
from malmoi.sources.model_files import WEIGHTS, shards_of

SINGLE = WEIGHTS[0][0]
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", "embeddings.position_ids")
"""Ends of the names of what older files store although it is no weight."""
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Ends of names that came from TensorFlow, which called scale and shift so, to those of PyTorch."""


class TensorFile(Protocol):
    """One file of named tensors, opened but not read."""

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, torch.dtype]

    def read(self, name: str) -> torch.Tensor:
        """The tensor `name`, in its stored type."""
        ...


class SafeTensors:
    """A safetensors file. See `TensorFile`."""

    def __init__(self, file: safe_open) -> None:
        self._file = file
        slices = {name: file.get_slice(name) for name in file.keys()}  # type: ignore[no-untyped-call]  # noqa: SIM118
        types = {name: dtype for dtype, name in TYPES.items()}
        self.shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        self.dtypes = {name: types.get(part.get_dtype(), torch.float32) for name, part in slices.items()}

    def read(self, name: str) -> torch.Tensor:
        """The tensor `name`, in its stored type."""
        tensor: torch.Tensor = self._file.get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor


class Weights:
    """The tensors of a checkpoint directory, opened but not read.

    `LayerNorm.gamma` and `LayerNorm.beta` of old files are here called `weight` and `bias`, as they are today.

    Attributes:
        shapes: name to shape.
        dtype: the type to hold them in: bfloat16 or float16 where all of them are of it, else float32.

    Raises:
        UserError: two files hold the same tensor.
    """

    def __init__(self, files: Sequence[TensorFile]) -> None:
        self._places: dict[str, tuple[TensorFile, str]] = {}
        for file in files:
            for stored in file.shapes:
                name = _todays_name(stored)
                if name in self._places:
                    raise UserError(f"The weights hold the tensor {name} twice.", "Get the checkpoint again.")
                if not name.endswith(_BUFFERS):
                    self._places[name] = (file, stored)
        self.shapes = {name: file.shapes[stored] for name, (file, stored) in self._places.items()}
        types = {file.dtypes[stored] for file, stored in self._places.values()}
        short = types <= {torch.bfloat16} or types <= {torch.float16}
        self.dtype = types.pop() if types and short else torch.float32

    def read(self, name: str) -> torch.Tensor:
        """The tensor `name`, in its stored type."""
        file, stored = self._places[name]
        return file.read(stored)


@contextlib.contextmanager
def open_weights(directory: Path) -> Iterator[Weights]:
    """Open `model.safetensors`, or the files of its index; where there is neither, `pytorch_model.bin` likewise.

    Raises:
        UserError: there are none, one is cut short or damaged, leads out of the directory or holds more than tensors.
    """
    with contextlib.ExitStack() as stack:
        yield Weights([_open(path, stack) for path in _files(directory)])


def _open(path: Path, stack: contextlib.ExitStack) -> TensorFile:
    if path.suffix != ".safetensors":
        return StateDict(path)
    try:
        return SafeTensors(stack.enter_context(safe_open(path, framework="pt")))
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as safetensors: {error}.", "It is cut short or damaged: get it again."
        ) from None


def _files(directory: Path) -> list[Path]:
    for single, index in WEIGHTS:
        if (directory / single).is_file():
            return [_inside(directory, single, "is a link that leads elsewhere")]
        if (directory / index).is_file():
            where = f"is named by {index} but is no file beside it"
            return [_inside(directory, name, where) for name in shards_of(directory / index)]
    raise UserError(f"There is no {SINGLE} in {directory}, nor a {WEIGHTS[1][0]}.", "Is this a checkpoint's directory?")


def _inside(directory: Path, name: str, otherwise: str) -> Path:
    """The file `name`, which a link must not lead out of the directory."""
    path, root = directory / name, directory.resolve()
    if root.parent.name == "snapshots":  # huggingface_hub's cache: links to ../../blobs, where the files lie
        root = root.parent.parent
    if not path.is_file() or not path.resolve().is_relative_to(root):
        raise UserError(f"{path} {otherwise}.", "Get the checkpoint again.")
    return path


def _todays_name(stored: str) -> str:
    for old, new in _OLD_NAMES.items():
        if stored.endswith(old):
            return stored.removesuffix(old) + new
    return stored
