"""States that several processes write, each its part, and any other number of processes reads.

PyTorch's distributed checkpoint with safetensors for storage: no pickle. It is imported where a state is read or
written: with it comes PyTorch's compiler, a second that a run whose stages are all done need not take.
"""

from __future__ import annotations

import os
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from malmoi.core.errors import UserError
from malmoi.core.files import write_json
from malmoi.core.hashing import hash_file


def read_tensors(directory: Path, wanted: dict[str, torch.Tensor]) -> None:
    """Fill tensors, whole or divided among processes, from the safetensors files of a directory.

    Args:
        wanted: name to a tensor of the stored shape.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(directory))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is only one process is meant
        load(wanted, storage_reader=reader, no_dist=not dist.is_initialized())


def stored_shapes(directory: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Name to shape and dtype of the whole tensors that the safetensors files of a directory hold."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    metadata = HuggingFaceStorageReader(str(directory)).read_metadata()
    tensors = {
        name: one for name, one in metadata.state_dict_metadata.items() if isinstance(one, TensorStorageMetadata)
    }
    return {name: (one.size, one.properties.dtype) for name, one in tensors.items()}


class StateWriter:
    """Writes states in the background; each is complete or absent.

    Every process calls the same methods in the same order.
    """

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo")
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def write(
        self, target: Path, tensors: Mapping[str, torch.Tensor], facts: dict[str, Any], then: Callable[[], None]
    ) -> None:
        """Copy the tensors, and write them to `target` while the caller goes on.

        Args:
            facts: written beside them by the first process, with the hash of every file as `files`.
            then: called by the first process when everything is there.
        """
        self.wait()
        copies = {name: _copy(tensor) for name, tensor in tensors.items()}
        self._thread = threading.Thread(target=self._write, args=(target, copies, facts, then), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for what is being written.

        Raises:
            UserError: it could not be written; what was written before is untouched.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise UserError(
                f"A state could not be saved: {error}.", "Free some space and run the same command again."
            ) from None

    def _write(
        self, target: Path, tensors: dict[str, torch.Tensor], facts: dict[str, Any], then: Callable[[], None]
    ) -> None:
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        temporary = target.with_name(f".{target.name}.tmp")
        first = dist.get_rank() == 0
        try:
            if first:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
            dist.barrier(group=self._group)
            writer = HuggingFaceStorageWriter(str(temporary), save_distributed=True)
            save(tensors, storage_writer=writer, process_group=self._group)
            hashes: list[Any] = [None] * dist.get_world_size()
            own = sorted(temporary.glob(f"shard-{dist.get_rank() + 1:05d}-*.safetensors"))
            dist.all_gather_object(hashes, {file.name: hash_file(file) for file in own}, group=self._group)
            if first:
                files = {name: digest for one in hashes for name, digest in one.items()}
                write_json(temporary / "state.json", {**facts, "files": files})
                shutil.rmtree(target, ignore_errors=True)
                os.replace(temporary, target)
                then()
            dist.barrier(group=self._group)
        except Exception as error:  # told by the next `wait`, in the thread of the caller
            self._error = error


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """What a later step does not change, on the CPU."""
    detached = tensor.detach()
    return detached.clone() if detached.device.type == "cpu" else detached.cpu()
