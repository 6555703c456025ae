"""State dicts that PyTorch saved, read by its restricted unpickler, which makes tensors and runs nothing."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from malmoi.core.errors import UserError

_ZIP = b"PK\x03\x04"
_WRAPPERS = ("state_dict", "model")
"""Under which training scripts put the state dict, beside an optimizer's and other things."""
_LARGEST_GROWTH = 8
"""How often the bytes of a file may be used by its tensors together; tied weights are stored once and named often."""


class StateDict:
    """The tensors of a file that `torch.save` wrote.

    Files since PyTorch 1.6 (2020) are mapped, and tensors are read when they are used. Older ones are read whole.

    Attributes:
        shapes: name to shape.
        dtypes: name to number format.

    Raises:
        UserError: the file is damaged, states sizes that do not fit into it, or holds anything but tensors.
    """

    def __init__(self, path: Path) -> None:
        self._tensors = _state_dict(_load(path), path)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        self.dtypes = {name: tensor.dtype for name, tensor in self._tensors.items()}

    def read(self, name: str) -> torch.Tensor:
        """The tensor `name`, in its stored type."""
        return self._tensors[name]


def _load(path: Path) -> Any:
    """The content of the file; the pickle of the old format, too, is read by the restricted unpickler alone."""
    mapped = _is_sound_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged or hostile pickle raises anything
        asked = re.search(r"GLOBAL ([\w.]+) (was not|whose module)", str(error))
        if asked:
            raise UserError(
                f"{path} holds more than tensors: it asks for {asked[1]}, which is not run.",
                "Take the model's safetensors, or save its state_dict() alone.",
            ) from None
        raise _damaged(path, "it is cut short, damaged or no such file") from None  # the error advises to trust it


def _is_sound_archive(path: Path) -> bool:
    """Whether the file is a zip archive, as since PyTorch 1.6; its members lie in it uncompressed.

    Raises:
        UserError: they do not, or state more bytes than the file has.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                return False
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(path, str(error)) from None
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise _damaged(path, "its members are compressed, which PyTorch never does")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise _damaged(path, "its members state more bytes than the file has")
    return True


def _state_dict(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The tensors by name, out of what training scripts wrap around them.

    Raises:
        UserError: something is no tensor, or none that the bytes of the file can hold.
    """
    if isinstance(content, dict) and not any(isinstance(value, torch.Tensor) for value in content.values()):
        wrapped = [content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)]
        content = wrapped[0] if len(wrapped) == 1 else content
    if not isinstance(content, dict):
        raise UserError(f"{path} holds one {type(content).__name__} and no state dict.", "Save its state_dict() alone.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UserError(
                f"{path} holds more than tensors: {name!r} is of type {type(value).__name__}.",
                "Save the model's state_dict() alone.",
            )
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
            raise UserError(f"{path}: {name!r} is no plain tensor of numbers.", "Save the model's plain weights.")
        if value.nbytes > value.untyped_storage().nbytes():
            raise _damaged(path, f"{name!r} repeats its numbers {tuple(value.shape)}")
    if sum(value.nbytes for value in content.values()) > _LARGEST_GROWTH * path.stat().st_size:
        raise _damaged(path, "its tensors state more bytes than the file has")
    return {name: value.detach() for name, value in content.items()}


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} cannot be read as a PyTorch state dict: {why}.", "Get it again, or take its safetensors.")
