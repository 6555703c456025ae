"""What is needed to go on: weights, optimizer state, step. Complete or absent; no pickle."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from torch import nn

from malmoi.core.console import console, verbatim
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, read_json, write_json
from malmoi.core.hashing import hash_file
from malmoi.core.tensor_file import write_tensors
from malmoi.parallel.checkpoint import StateWriter, read_tensors, stored_shapes
from malmoi.train.precision import Precision

TENSORS = "state.safetensors"
FACTS = "state.json"
KEPT = 2


@dataclass
class Progress:
    """Where a training stands; everything besides tensors that decides how it goes on.

    Attributes:
        step: optimizer steps done.
        steps: how many there are in all, where that was reckoned again; 0 for as many as planned.
        items: targets counted so far.
        skipped: steps left out because their gradient was not finite.
        refused: how many of them the last ones in a row are, where that is no fault of float16.
        scale: loss scale of float16. Losses are sums over thousands of tokens: what suits a mean, such as 65,536, is
            too much for them.
        best_loss, best_step: the lowest validation loss and after which step.
        precision: number format of the forward pass; a run keeps the one it began with.
        threads: on how many threads sums were split, which decides their last bits.
        seconds: time spent; decides nothing.
    """

    step: int = 0
    steps: int = 0
    items: int = 0
    skipped: int = 0
    refused: int = 0
    scale: float = 16.0
    best_loss: float | None = None
    best_step: int = 0
    precision: Precision = "float32"
    threads: int = 1
    seconds: float = 0.0

    @property
    def loss_scale(self) -> float:
        """What losses are multiplied with, so that their gradients fit into the format."""
        return self.scale if self.precision == "float16" else 1.0


class Trained:
    """Every tensor that a training changes, by name: parameters, statistics, states of the optimizers.

    Args:
        parameters: what this process updates, by name; all that `model` trains by default.
        placed: what it holds of something divided as the parameter of this name is, as a part of the whole.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        parameters: Mapping[str, torch.Tensor] | None = None,
        placed: Callable[[str, torch.Tensor], torch.Tensor] = lambda _name, held: held,
    ) -> None:
        self._parameters = dict(trainable(model) if parameters is None else parameters)
        kept = model.state_dict().keys()
        self._statistics = {name: value for name, value in model.named_buffers() if name in kept}
        self._known = {f"model.{name}" for name in (*trainable(model), *self._statistics)}
        self._optimizers, self._placed = optimizers, placed
        self._names = {parameter: name for name, parameter in self._parameters.items()}

    def weights(self) -> dict[str, torch.Tensor]:
        """Parameters and statistics such as those of batch norms, under `model.`."""
        parameters = {name: self._placed(name, held.detach()) for name, held in self._parameters.items()}
        return {f"model.{name}": value for name, value in (parameters | self._statistics).items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """These, and under `optimizer.NAME.` what the optimizers remember of each parameter."""
        tensors = self.weights()
        for optimizer in self._optimizers:
            for parameter, state in optimizer.state.items():
                name = self._names[parameter]
                tensors |= {f"optimizer.{name}.{key}": self._placed(name, value) for key, value in state.items()}
        return tensors

    def restore(self, saved: Path) -> None:
        """Take everything from a saved state, or the weights from one that has nothing else.

        Raises:
            UserError: it is of another model.
        """
        stored = stored_shapes(saved)
        weights = self.weights()
        if {name for name in stored if name.startswith("model.")} != self._known or any(
            weights[name].shape != stored[name][0] for name in weights
        ):
            raise UserError(f"{saved} belongs to another model.", "Remove it, or give another --out.")
        remembered = self._remembered(stored)
        wanted = weights | {
            f"optimizer.{name}.{key}": self._placed(name, value)
            for name, state in remembered.items()
            for key, value in state.items()
        }
        with torch.no_grad():
            read_tensors(saved, wanted)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if self._names[parameter] in remembered:
                        optimizer.state[parameter] = remembered[self._names[parameter]]

    def _remembered(self, stored: Mapping[str, tuple[torch.Size, torch.dtype]]) -> dict[str, dict[str, torch.Tensor]]:
        """Room for what the optimizers remembered of each parameter of this process."""
        remembered: dict[str, dict[str, torch.Tensor]] = {}
        for full, (shape, dtype) in stored.items():
            name, _, key = full.removeprefix("optimizer.").rpartition(".")
            if full.startswith("optimizer.") and name in self._parameters:
                held = self._parameters[name].detach()
                like = shape == self._placed(name, held).shape
                alone = torch.empty(shape, dtype=dtype, device=held.device)
                room = torch.empty_like(held, dtype=dtype) if like else alone
                remembered.setdefault(name, {})[key] = room
        return remembered


def save_state(directory: Path, trained: Trained, progress: Progress, writer: StateWriter | None = None) -> None:
    """Write `directory/step-N`, then remove all but the newest two, and best weights that none of them goes on with.

    Args:
        writer: where several processes write together, in the background.

    Raises:
        UserError: the disk is full; the earlier ones are untouched.
    """
    target, best_step = directory / f"step-{progress.step:08d}", progress.best_step
    _write(target, trained.tensors(), asdict(progress), lambda: _tidy(directory, best_step), writer)


Found: TypeAlias = tuple[Path, Progress] | None


def load_state(
    directory: Path, trained: Trained, agree: Callable[[Callable[[], Found]], Found] = lambda find: find()
) -> Progress | None:
    """Restore the newest whole state of `directory`; None when there is none.

    Args:
        agree: lets one of several processes look for it.

    Raises:
        UserError: a state is whole but of another model.
    """
    found = agree(lambda: newest_state(directory))
    if found is None:
        return None
    trained.restore(found[0])
    return found[1]


def newest_state(directory: Path) -> Found:
    """The newest whole state of `directory`, and what it says; unfinished ones are removed."""
    for unfinished in directory.glob(".*.tmp"):
        shutil.rmtree(unfinished)
    states = saved_states(directory)
    for saved in states:
        try:
            facts: dict[str, Any] = read_json(saved / FACTS)
            torn = [name for name, digest in facts.pop("files").items() if hash_file(saved / name) != digest]
            stored_shapes(saved)
            progress = Progress(**facts)
        except (UserError, OSError, KeyError, TypeError, SafetensorError):
            torn = [FACTS]
        if not torn:
            return saved, progress
        what = verbatim(f"{saved} is torn ({', '.join(torn)})")
        then = "beginning again" if saved == states[-1] else "going on from the one before it"
        console.print(f"  [yellow]{what}; {then}[/yellow]")
    return None


def save_best(directory: Path, trained: Trained, step: int, writer: StateWriter | None = None) -> None:
    """Write the weights after `step` to `directory/best-N`, then remove those that no saved state calls its best.

    Raises:
        UserError: the disk is full.
    """
    _write(_best(directory, step), trained.weights(), {}, lambda: _tidy(directory, step), writer)


def load_best(directory: Path, trained: Trained, step: int) -> None:
    """Take what `save_best` wrote after `step`."""
    trained.restore(_best(directory, step))


def trainable(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _write(
    target: Path,
    tensors: dict[str, torch.Tensor],
    facts: dict[str, Any],
    then: Callable[[], None],
    writer: StateWriter | None,
) -> None:
    if writer is not None:
        writer.write(target, tensors, facts, then)
        return
    with atomic_directory(target) as temporary:
        write_tensors(tensors, temporary / TENSORS)
        write_json(temporary / FACTS, {**facts, "files": {TENSORS: hash_file(temporary / TENSORS)}})
    then()


def _best(directory: Path, step: int) -> Path:
    return directory / f"best-{step:08d}"


def _tidy(directory: Path, best_step: int) -> None:
    """Keep the newest states, and the best weights of the training now and of each of these states."""
    kept, old = saved_states(directory)[:KEPT], saved_states(directory)[KEPT:]
    best = {_best(directory, step) for step in (best_step, *map(_best_step, kept))}
    for one in (*old, *(set(directory.glob("best-*")) - best)):
        shutil.rmtree(one)


def _best_step(saved: Path) -> int:
    """After which step the weights were best when a state was saved; 0 for a torn one."""
    with contextlib.suppress(UserError, KeyError):
        return int(read_json(saved / FACTS)["best_step"])
    return 0


def saved_states(directory: Path) -> list[Path]:
    """Saved states, the newest first."""
    return sorted(directory.glob("step-*"), reverse=True)
