"""Write the target of a source."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import functional as F

from malmoi.data.batch import IGNORED
from malmoi.data.pair_batches import PairBatch
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.objectives.counted import counted_rows
from malmoi.objectives.objective import Loss


@dataclass(frozen=True)
class SequenceToSequence:
    """Cross-entropy of each token of the target, the true ones before it given; padding does not count.

    Attributes:
        smoothing: share of the probability that a target gives to all tokens alike (Szegedy and others 2016,
            arXiv:1512.00567, section 7).
    """

    smoothing: float = 0.0

    def loss(self, model: EncoderDecoder, batch: PairBatch) -> Loss:
        """See `Objective.loss`; `cross_entropy` is that of the targets as they are, `correct` counts the right ones."""
        states = model(batch.source, batch.source_lengths, batch.inputs)
        hidden, targets = counted_rows(states, batch.targets, batch.counted)
        counted = targets != IGNORED
        logits = model.head(hidden).float()
        likelihoods = logits.log_softmax(-1)
        plain = F.nll_loss(likelihoods, targets, ignore_index=IGNORED, reduction="sum")
        total = (1 - self.smoothing) * plain - self.smoothing * (likelihoods.mean(-1) * counted).sum()
        correct = (logits.argmax(-1) == targets).sum()
        return Loss(total, counted.sum(), {"cross_entropy": plain.detach(), "correct": correct})
