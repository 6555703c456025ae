"""Find the answer to a question in a passage."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.data.span_batch import SpanBatch
from malmoi.objectives.objective import Loss


class SpanExtraction:
    """Cross-entropy of the first and of the last token of the answer, over the passage and "no answer".

    No answer is an answer that begins and ends at the first token of the row (Devlin and others 2019, arXiv:1810.04805,
    section 4.3). Two items a row count; `correct` counts the right ones.
    """

    def loss(self, model: nn.Module, batch: SpanBatch) -> Loss:
        """See `Objective.loss`; `model(tokens, lengths, segments)` gives (rows, length, 2)."""
        scores = model(batch.tokens, batch.lengths, batch.segments).float()
        scores = scores.masked_fill(~batch.inside[..., None], -torch.inf).transpose(1, 2).flatten(0, 1)
        targets = torch.stack([batch.starts, batch.ends], dim=1).flatten()
        total = F.cross_entropy(scores, targets, reduction="sum")
        correct = (scores.argmax(-1) == targets).sum()
        return Loss(total, targets.new_tensor(len(targets)), {"correct": correct})
