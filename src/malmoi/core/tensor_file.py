"""Tensors to a safetensors file."""

from __future__ import annotations

import errno
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file


def write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write named tensors, readable by everybody who may read the folder.

    Raises:
        OSError: as the system gives it; a full disk with ENOSPC, which safetensors wraps in an error of its own.
    """
    try:
        contiguous = {name: value.contiguous() for name, value in tensors.items()}
        save_file(contiguous, path, metadata={"format": "pt"})
        path.chmod(0o644)  # it writes files that only their owner can read
    except SafetensorError as error:
        if "os error 28" in str(error):
            raise OSError(errno.ENOSPC, "no space left") from None
        raise
