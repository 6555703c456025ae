"""What is needed to go on: weights, optimizer state, step. Complete or absent; no pickle."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, read_json, write_json
from malmoi.core.hashing import hash_file
from malmoi.core.tensor_file import write_tensors
from malmoi.train.precision import Precision

TENSORS = "state.safetensors"
FACTS = "state.json"
KEPT = 2


@dataclass
class Progress:
    """Where a training stands; everything besides tensors that decides how it goes on.

    Attributes:
        step: optimizer steps done.
        items: targets counted so far.
        skipped: steps left out because their gradient was not finite.
        scale: loss scale of float16.
        best_loss, best_step: the lowest validation loss and after which step.
        precision: number format of the forward pass; a run keeps the one it began with.
        threads: on how many threads sums were split, which decides their last bits.
        seconds: time spent; decides nothing.
    """

    step: int = 0
    items: int = 0
    skipped: int = 0
    scale: float = 65_536.0
    best_loss: float | None = None
    best_step: int = 0
    precision: Precision = "float32"
    threads: int = 1
    seconds: float = 0.0


def save_state(directory: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], progress: Progress) -> None:
    """Write `directory/step-N`, then remove all but the newest two, and all best weights but the best.

    Raises:
        UserError: the disk is full; the earlier ones are untouched.
    """
    tensors = {f"model.{name}": value.detach() for name, value in _changing(model).items()}
    for index, optimizer in enumerate(optimizers):
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{number}.{key}": value for key, value in state.items()}
    with atomic_directory(directory / f"step-{progress.step:08d}") as temporary:
        write_tensors(tensors, temporary / TENSORS)
        write_json(temporary / FACTS, {**asdict(progress), "sha256": hash_file(temporary / TENSORS)})
    worse = set(directory.glob("best-*")) - {_best(directory, progress.best_step)}
    for old in (*_saved(directory)[KEPT:], *worse):
        shutil.rmtree(old)


def load_state(directory: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Progress | None:
    """Restore the newest whole state of `directory`; None when there is none.

    Raises:
        UserError: a state is whole but of another model.
    """
    for unfinished in directory.glob(".*.tmp"):
        shutil.rmtree(unfinished)
    for saved in _saved(directory):
        facts = _whole(saved)
        if facts is None:
            console.print(f"  [yellow]{saved} is torn; going on from the one before it[/yellow]")
            continue
        tensors = load_file(saved / TENSORS)
        _restore_model(model, tensors, saved)
        for index, optimizer in enumerate(optimizers):
            _restore_optimizer(optimizer, f"optimizer.{index}.", tensors)
        facts.pop("sha256")
        return Progress(**facts)
    return None


def save_best(directory: Path, model: nn.Module, step: int) -> None:
    """Write what `step` changed to `directory/best-N`; `save_state` removes those that are best no more.

    Raises:
        UserError: the disk is full.
    """
    with atomic_directory(_best(directory, step)) as temporary:
        write_tensors(
            {f"model.{name}": value.detach() for name, value in _changing(model).items()}, temporary / TENSORS
        )


def load_best(directory: Path, model: nn.Module, step: int) -> None:
    """Take what `save_best` wrote after `step`."""
    saved = _best(directory, step)
    _restore_model(model, load_file(saved / TENSORS), saved)


def trainable(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _changing(model: nn.Module) -> dict[str, torch.Tensor]:
    """What a training changes, by name: the trained parameters, and statistics such as those of batch norms."""
    state = model.state_dict()
    return trainable(model) | {name: value for name, value in model.named_buffers() if name in state}


def _best(directory: Path, step: int) -> Path:
    return directory / f"best-{step:08d}"


def _saved(directory: Path) -> list[Path]:
    """Saved states, the newest first."""
    return sorted(directory.glob("step-*"), reverse=True)


def _whole(saved: Path) -> dict[str, Any] | None:
    try:
        facts: dict[str, Any] = read_json(saved / FACTS)
        return facts if facts["sha256"] == hash_file(saved / TENSORS) else None
    except (UserError, OSError, KeyError, SafetensorError):
        return None


def _restore_model(model: nn.Module, tensors: dict[str, torch.Tensor], saved: Path) -> None:
    parameters = _changing(model)
    stored = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    if stored.keys() != parameters.keys() or any(stored[n].shape != parameters[n].shape for n in stored):
        raise UserError(f"{saved} belongs to another model.", "Remove it, or give another --out.")
    with torch.no_grad():
        for name, value in stored.items():
            parameters[name].copy_(value)


def _restore_optimizer(optimizer: torch.optim.Optimizer, prefix: str, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            number, key = name.removeprefix(prefix).split(".")
            state.setdefault(int(number), {})[key] = value
    content = optimizer.state_dict()
    content["state"] = state
    optimizer.load_state_dict(content)
