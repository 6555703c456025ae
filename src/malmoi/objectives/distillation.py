"""Learn what a teacher answers, beside what is right (Hinton and others 2015, arXiv:1503.02531)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED, LabelledBatch, TextBatch
from malmoi.models.classifier import Classifier
from malmoi.models.headed import body_of
from malmoi.models.model import Backbone
from malmoi.objectives.objective import Loss

Taught = Backbone | Classifier


class Distillation:
    """(1 - alpha) x cross-entropy + alpha x temperature² x divergence from the teacher + hidden x distance of states.

    The divergence is that of the student's distribution from the teacher's, both flattened by the temperature, whose
    square keeps the gradient as large as it was. The distance is 1 - cosine of the states that blocks of the student
    and of the teacher give, as DistilBERT takes it of the last ones (Sanh and others 2019, arXiv:1910.01108). Items are
    the targets of a text, or the rows of labelled texts. `cross_entropy`, `divergence` and `correct` are told apart.

    Args:
        teacher: is left as it is.
        alpha: 0 looks only at what is right, 1 only at the teacher.
        hidden: weight of the distance; 0 for none.
        blocks: for each block of the student the number of the teacher's block whose states it is to give.

    Raises:
        UserError: the distance is asked for, and there are no such blocks.
    """

    def __init__(
        self,
        teacher: Taught,
        temperature: float = 2.0,
        alpha: float = 0.5,
        hidden: float = 0.0,
        blocks: Sequence[int] = (),
    ) -> None:
        self.temperature, self.alpha, self.hidden, self._blocks = temperature, alpha, hidden, tuple(blocks)
        self._teacher = teacher.eval().requires_grad_(False)
        if hidden and not 0 <= max(self._blocks, default=-1) < len(body_of(teacher).blocks):
            raise UserError("The teacher has no blocks to be like.", "Name one for each block of the student.")

    def loss(self, model: Taught, batch: TextBatch | LabelledBatch) -> Loss:
        """See `Objective.loss`; items whose target is IGNORED are not looked at."""
        targets = batch.targets if isinstance(batch, TextBatch) else batch.labels
        counted = targets != IGNORED
        with _states(model) as own:
            scores = _scores(model, batch, counted)
        wanted = F.cross_entropy(scores, targets[counted], reduction="sum")
        metrics = {
            "cross_entropy": wanted.detach(),
            "correct": (scores.argmax(-1) == targets[counted]).sum(),
        }
        total = (1 - self.alpha) * wanted
        if self.alpha or self.hidden:
            with torch.no_grad(), _states(self._teacher) as theirs:
                taught = _scores(self._teacher, batch, counted)
            divergence = _divergence(scores, taught, self.temperature)
            metrics["divergence"] = divergence.detach()
            total = total + self.alpha * self.temperature**2 * divergence
            if self.hidden:
                total = total + self.hidden * self._distance(own, theirs, batch, counted)
        return Loss(total, counted.sum(), metrics)

    def _distance(
        self,
        own: list[torch.Tensor],
        theirs: list[torch.Tensor],
        batch: TextBatch | LabelledBatch,
        counted: torch.Tensor,
    ) -> torch.Tensor:
        """The mean over blocks, and over the tokens of a row where rows are counted; summed over items."""
        pairs = [(state, theirs[number]) for state, number in zip(own, self._blocks, strict=True)]
        each = torch.stack([1 - F.cosine_similarity(one.float(), other.float(), dim=-1) for one, other in pairs]).mean(
            0
        )
        if isinstance(batch, TextBatch):
            return each[counted].sum()
        real = torch.arange(each.shape[1], device=each.device) < batch.lengths[:, None]
        return ((each * real).sum(1) / batch.lengths)[counted].sum()


def _divergence(scores: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """The sum over items of the Kullback-Leibler divergence, in nats; takes (items, classes) twice."""
    flat, theirs = F.log_softmax(scores / temperature, -1), F.log_softmax(taught / temperature, -1)
    return F.kl_div(flat, theirs, reduction="sum", log_target=True)


def _scores(model: Taught, batch: TextBatch | LabelledBatch, counted: torch.Tensor) -> torch.Tensor:
    """(items, vocabulary or classes) float32, of the items that count."""
    if isinstance(batch, TextBatch):
        assert isinstance(model, Backbone)
        scores: torch.Tensor = model.head(model(batch.tokens)[counted])
    else:
        scores = model(batch.tokens, batch.lengths, batch.segments)[counted]
    return scores.float()


@contextmanager
def _states(model: Taught) -> Iterator[list[torch.Tensor]]:
    """What each block gives while the model reads, (rows, length, width) each."""
    found: list[torch.Tensor] = []

    def keep(block: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        found.append(output)

    hooks = [block.register_forward_hook(keep) for block in body_of(model).blocks]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
