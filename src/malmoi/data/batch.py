"""The second door: named tensors that go from a data set to an objective."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self, TypeVar

import torch
from torch.nn import functional as F

from malmoi.core.accelerator import wants_static_shapes
from malmoi.core.errors import UserError

IGNORED = -100
"""Target value that no loss looks at; PyTorch's own convention."""

TARGETS = ("targets", "labels")
"""Names of the tensors that hold IGNORED where nothing is to be learned."""

Answer = Literal["class", "classes", "number"]
"""What a label is, and a classifier answers: one class, any number of classes, or a number."""


@dataclass(frozen=True)
class Batch:
    """Base of all batches. A subclass names its tensors; its docstring gives each one's shape and dtype."""

    def to(self, device: torch.device) -> Self:
        """The same batch with every tensor on `device`."""
        moved = {name: value.to(device, non_blocking=True) for name, value in self._tensors().items()}
        return dataclasses.replace(self, **moved)

    def pinned(self) -> Self:
        """The same batch in memory that is never paged out, from which a GPU copies while it computes."""
        return dataclasses.replace(self, **{name: value.pin_memory() for name, value in self._tensors().items()})

    def digest(self) -> str:
        """A hash of all its tensors."""
        digest = hashlib.sha256()
        for name, value in self._tensors().items():
            digest.update(name.encode() + str(tuple(value.shape)).encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def part(self, index: int, count: int) -> Self:
        """Every `count`-th row from row `index` on.

        Raises:
            UserError: there are fewer rows than parts.
        """
        tensors = self._tensors()
        rows = len(next(iter(tensors.values())))
        if rows < count:
            raise UserError(
                f"A micro-batch of {rows} rows cannot be dealt to {count} processes.",
                "Set more rows, or more slots, or fewer processes.",
            )
        return dataclasses.replace(self, **{name: value[index::count] for name, value in tensors.items()})

    def learning(self, index: int, count: int) -> Self:
        """The same rows with every `count`-th target of each, and every `count`-th label, from number `index` on."""
        own = {}
        for name, whole in self._tensors().items():
            if name in TARGETS:
                own[name] = torch.full_like(whole, IGNORED)
                own[name][..., index::count] = whole[..., index::count]
        return dataclasses.replace(self, **own)

    def padded(self, multiple: int) -> Self:
        """The same with every length a multiple of this; see `lengthened`."""
        lengths = {name: value.shape[1] for name, value in self._sequences().items()}
        return self.lengthened({name: length + -length % multiple for name, length in lengths.items()})

    def lengthened(self, lengths: Mapping[str, int]) -> Self:
        """The same with the tensors of (rows, length) so long: targets padded with IGNORED, all else with 0."""
        longer = {
            name: F.pad(value, (0, lengths[name] - value.shape[1]), value=IGNORED if name in TARGETS else 0)
            for name, value in self._sequences().items()
            if lengths[name] > value.shape[1]
        }
        return dataclasses.replace(self, **longer) if longer else self

    def _tensors(self) -> dict[str, torch.Tensor]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}

    def _sequences(self) -> dict[str, torch.Tensor]:
        """The tensors of a number or a mark for each token."""
        tensors = self._tensors()
        return {name: one for name, one in tensors.items() if one.dim() == 2 and not one.is_floating_point()}


BatchType = TypeVar("BatchType", bound=Batch)


def alike(batches: Sequence[BatchType]) -> list[BatchType]:
    """Batches of one kind, padded so that their lengths are the same."""
    shapes = [{name: value.shape[1] for name, value in batch._sequences().items()} for batch in batches]
    longest = {name: max(shape[name] for shape in shapes) for name in shapes[0]}
    return [batch.lengthened(longest) for batch in batches]


@dataclass(frozen=True)
class TargetBatch(Batch):
    """Base of batches with a target for each token.

    Attributes:
        counted: how many targets are not IGNORED, where that is known: counted before they go to a device that would
            have to be waited for.
    """

    counted: int | None = field(default=None, kw_only=True)

    def to(self, device: torch.device) -> Self:
        """See `Batch.to`; the targets are counted on the way."""
        at_hand = self._targets.device.type == "cpu" and not wants_static_shapes(device)
        return dataclasses.replace(super().to(device), counted=self.count() if at_hand else self.counted)

    def count(self) -> int:
        """How many targets are not IGNORED."""
        return int((self._targets != IGNORED).sum())

    def with_targets(self, take: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """The same rows with what `take` gives of the targets."""
        own: dict[str, torch.Tensor] = {"targets": take(self._targets)}
        return dataclasses.replace(self, **own, counted=None)

    @property
    def _targets(self) -> torch.Tensor:
        return self._tensors()["targets"]


@dataclass(frozen=True)
class TextBatch(TargetBatch):
    """Rows of text for next-token objectives.

    Attributes:
        tokens: (rows, length) int64, the inputs; short rows are padded on the right.
        targets: (rows, length) int64, `targets[r, t]` is what should follow `tokens[r, :t + 1]`; IGNORED where
            nothing is to be learned (padding, the user's side of a dialogue).
    """

    tokens: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class LabelledBatch(Batch):
    """Texts with a class each, or several, or a number.

    Attributes:
        tokens: (rows, length) int64, padded on the right; or (rows, length, width) float32, the hidden states of
            frozen layers that were computed once.
        lengths: (rows,) int64, the number of real tokens in each row, at least 1.
        labels: (rows,) int64, index of the class; IGNORED when it is not known; or (rows, classes) float32, 1 for each
            of several classes; or (rows,) float32 numbers.
        segments: (rows, length) int64, which text of a pair each token belongs to; None where there are no pairs.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor
    segments: torch.Tensor | None = None


@dataclass(frozen=True)
class MaskedBatch(TargetBatch):
    """Texts, or pairs of them, with words to be guessed, and a class each where there is one.

    Attributes:
        tokens: (rows, length) int64, padded on the right, most of the words to be guessed hidden.
        lengths: (rows,) int64, the number of real tokens in each row, at least 1.
        targets: (rows, length) int64, what stood there; IGNORED where nothing is to be guessed.
        segments: (rows, length) int64, which text of a pair each token belongs to; None where there are no pairs.
        labels: (rows,) int64, index of the class; IGNORED when it is not known; None where there are no classes.
        documents: (rows, length) int64, the number of the document that each token belongs to, for attention that stays
            in one; None where each row is one.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    targets: torch.Tensor
    segments: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    documents: torch.Tensor | None = None


class BatchSource(Protocol):
    """Where the trainer gets its batches.

    The order of data is a pure function of (seed, step, slot): nothing about it is state, so resuming needs no
    bookkeeping.
    """

    def batch(self, step: int, slot: int) -> Batch:
        """The micro-batch number `slot` of optimizer step `step` (both from 0).

        Another thread asks for it while an earlier one is computed, or validation runs: it changes nothing that others
        read, and draws no random numbers but its own.
        """
        ...

    def validation(self) -> Iterator[Batch]:
        """The held-out batches, the same at every call; empty when nothing is held out."""
        ...
