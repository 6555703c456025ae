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
from malmoi.layers.attention import Attention
from malmoi.layers.mixes.watched import Seen, Watched
from malmoi.models.classifier import Classifier
from malmoi.models.headed import body_of
from malmoi.models.model import Backbone
from malmoi.models.stateful import StatefulBlock
from malmoi.objectives.kept_answers import KeptAnswers
from malmoi.objectives.objective import Loss

Taught = Backbone | Classifier


class Distillation:
    """(1 - alpha) x cross-entropy + alpha x temperature² x divergence from the teacher + hidden x distance of states
    + attention x distance of scores.

    The divergence is that of the student's distribution from the teacher's, both flattened by the temperature, whose
    square keeps the gradient as large as it was. The distance of states is the sum of the absolute differences of what
    blocks of the student and of the teacher give, as a share of the sum of the teacher's absolute numbers. A square
    would see little but the few places of a state that hold a hundred times what the others hold (Sun and others 2024,
    arXiv:2402.17762). That of scores is the mean square difference of what queries and keys of these blocks come to
    before the softmax, over the heads and the keys that a query may look at, as TinyBERT takes it (Jiao and others
    2020, arXiv:1909.10351). Both are means over blocks. Items are the targets of a text, or the rows of labelled texts.
    `cross_entropy`, `divergence` and `correct` are told apart.

    Args:
        teacher: is left as it is.
        alpha: 0 looks only at what is right, 1 only at the teacher.
        hidden, attention: weights of the distances; 0 for none. A student has the teacher's width for the one, and as
            many heads for the other.
        blocks: for each block of the student the number of the teacher's block that it is to be like.
        kept: where the teacher's answers are looked for before it is asked, at this temperature; they know of no
            distances.

    Raises:
        UserError: a distance is asked for, and there are no such blocks, or they have no attention, or answers are
            kept.
    """

    def __init__(
        self,
        teacher: Taught,
        temperature: float = 2.0,
        alpha: float = 0.5,
        hidden: float = 0.0,
        blocks: Sequence[int] = (),
        attention: float = 0.0,
        kept: KeptAnswers | None = None,
    ) -> None:
        self.temperature, self.alpha, self._blocks = temperature, alpha, tuple(blocks)
        self.hidden, self.attention, self._kept = hidden, attention, kept
        self._teacher = teacher.eval().requires_grad_(False)
        if kept is not None and (hidden or attention):
            raise UserError("Answers are kept, states and attention are not.", "Leave out answers, or set both to 0.")
        if (hidden or attention) and not 0 <= max(self._blocks, default=-1) < len(body_of(teacher).blocks):
            raise UserError("The teacher has no blocks to be like.", "Name one for each block of the student.")
        if attention and not all(isinstance(_attention(block), Attention) for block in body_of(teacher).blocks):
            raise UserError("The teacher's blocks have no attention to be like.", "Set attention=0.")

    def loss(self, model: Taught, batch: TextBatch | LabelledBatch) -> Loss:
        """See `Objective.loss`; items whose target is IGNORED are not looked at."""
        targets = batch.targets if isinstance(batch, TextBatch) else batch.labels
        counted = targets != IGNORED
        with _states(model) as own, _attentions(model, self.attention > 0) as own_attention:
            scores = _scores(model, batch, counted)
        wanted = F.cross_entropy(scores, targets[counted], reduction="sum")
        metrics = {
            "cross_entropy": wanted.detach(),
            "correct": (scores.argmax(-1) == targets[counted]).sum(),
        }
        total = (1 - self.alpha) * wanted
        if self.alpha or self.hidden or self.attention:
            with (
                _states(self._teacher) as theirs,
                _attentions(self._teacher, self.attention > 0) as their_attention,
            ):
                divergence = self._divergence(scores, batch, counted)
            metrics["divergence"] = divergence.detach()
            total = total + self.alpha * self.temperature**2 * divergence
            if self.hidden:
                pairs = [(state, theirs[number]) for state, number in zip(own, self._blocks, strict=True)]
                apart = [_apart(one.float(), other.float()) for one, other in pairs]
                total = total + self.hidden * _over_items(apart, batch, counted)
            if self.attention:
                seen = [(one, their_attention[number]) for one, number in zip(own_attention, self._blocks, strict=True)]
                differences = [_difference(one, other) for one, other in seen]
                total = total + self.attention * _over_items(differences, batch, counted)
        return Loss(total, counted.sum(), metrics)

    def _divergence(
        self, scores: torch.Tensor, batch: TextBatch | LabelledBatch, counted: torch.Tensor
    ) -> torch.Tensor:
        """The sum over items of the Kullback-Leibler divergence from the teacher, in nats."""

        @torch.no_grad()
        def ask() -> torch.Tensor:
            return F.log_softmax(_scores(self._teacher, batch, counted) / self.temperature, -1)

        own = F.log_softmax(scores / self.temperature, -1)
        if self._kept is not None:
            with torch.autocast(scores.device.type, enabled=False):  # kept answers know no format of a training
                return self._kept.to(batch, ask).divergence(own)
        return F.kl_div(own, ask(), reduction="sum", log_target=True)


def _over_items(distances: list[torch.Tensor], batch: TextBatch | LabelledBatch, counted: torch.Tensor) -> torch.Tensor:
    """The mean of (rows, length) over blocks, and over the tokens of a row where rows count; summed over items."""
    each = torch.stack(distances).mean(0)
    if isinstance(batch, TextBatch):
        return each[counted].sum()
    real = torch.arange(each.shape[1], device=each.device) < batch.lengths[:, None]
    return ((each * real).sum(1) / batch.lengths)[counted].sum()


def _apart(own: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """(rows, length), the absolute differences of (rows, length, width) as a share of the teacher's numbers."""
    return (own - theirs).abs().sum(-1) / theirs.abs().sum(-1)


def _difference(own: Seen, theirs: Seen) -> torch.Tensor:
    """(rows, length), the mean square over heads and keys."""
    return (own.scores - theirs.scores).square().mean(1).sum(-1) / own.counts


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

    def keep(block: nn.Module, inputs: Any, output: Any) -> None:
        found.append(output[0] if isinstance(block, StatefulBlock) else output)

    hooks = [block.register_forward_hook(keep) for block in body_of(model).blocks]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _attention(block: nn.Module) -> object:
    return getattr(block, "attention", None)


@contextmanager
def _attentions(model: Taught, wanted: bool) -> Iterator[list[Seen]]:
    """What the queries of each block make of the keys while the model reads."""
    found: list[Seen] = []
    layers = [layer for block in body_of(model).blocks if isinstance(layer := _attention(block), Attention)]
    before = [layer.mix for layer in layers]
    try:
        for layer in layers if wanted else []:
            layer.mix = Watched(layer.mix, found)
        yield found
    finally:
        for layer, mix in zip(layers, before, strict=True):
            layer.mix = mix
