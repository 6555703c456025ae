"""Train a filter on labelled lines. One that does not beat naming the commonest label is not written at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy, embedding_bag

from malmoi.core.console import progress
from malmoi.core.errors import UserError, nearest
from malmoi.corpus.quality_model import BUCKETS, QualityModel, features, save_quality_model
from malmoi.data.label_tables import TableSettings, read_labelled
from malmoi.data.labelled import LabelledText, SplitSettings, class_names, split_labelled

EPOCHS, BATCH, RATE = 8, 128, 0.05


@dataclass(frozen=True)
class Proof:
    """What a filter got right of texts it has not seen.

    Attributes:
        texts: how many were held out.
        accuracy: share of them that got their own label.
        majority: share that naming the commonest label gets right.
        recall: of each label's texts, the share that got it.
    """

    texts: int
    accuracy: float
    majority: float
    recall: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether the accuracy is above the majority's by two standard errors."""
        return self.accuracy - self.majority > 2 * math.sqrt(self.majority * (1 - self.majority) / self.texts)


def train_filter(path: Path, settings: TableSettings, keep: str, directory: Path) -> Proof:
    """Train a filter that keeps the texts of one label of a file, prove it on a fifth of them, write it.

    Raises:
        UserError: the file has no such texts, or the filter proves nothing; nothing is written then.
    """
    splits = split_labelled(read_labelled(path, settings), SplitSettings(validation=0))
    labels = class_names(splits)
    if keep not in labels:
        raise UserError(
            f"No line has the label {keep!r}.", nearest(keep, labels) or f"The labels are {', '.join(labels)}."
        )
    model = _fit(splits.train, labels, keep)
    proof = _prove(model, splits.test)
    if not proof.holds:
        raise UserError(
            f"The filter gets {proof.accuracy:.1%} of {proof.texts} held-out texts right, and naming the commonest "
            f"label {proof.majority:.1%}: that proves nothing, so it was not written.",
            "Give more labelled lines, or lines whose labels can be told from their words.",
        )
    save_quality_model(model, directory, {"trained_on": len(splits.train), **asdict(proof)})
    return proof


def _fit(train: Sequence[LabelledText], labels: list[str], keep: str) -> QualityModel:
    """Logistic regression by Adam; the same weights for the same texts."""
    rows = [features(one.text) for one in train]
    targets = torch.tensor([labels.index(one.label) for one in train])
    weights = torch.zeros(BUCKETS, len(labels), requires_grad=True)
    bias = torch.zeros(len(labels), requires_grad=True)
    optimizer = torch.optim.Adam([weights, bias], lr=RATE)
    dice = torch.Generator().manual_seed(0)
    with progress("filter", EPOCHS * len(rows)) as advance:
        for _ in range(EPOCHS):
            order = torch.randperm(len(rows), generator=dice)
            for at in range(0, len(rows), BATCH):
                batch = order[at : at + BATCH]
                chosen = [rows[place] for place in batch.tolist()]
                buckets = torch.from_numpy(np.concatenate([row[0] for row in chosen]))
                values = torch.from_numpy(np.concatenate([row[1] for row in chosen]))
                starts = torch.tensor([0, *[len(row[0]) for row in chosen]]).cumsum(0)[:-1]
                scores = embedding_bag(buckets, weights, starts, mode="sum", per_sample_weights=values) + bias
                optimizer.zero_grad()
                loss = cross_entropy(scores, targets[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                advance(len(batch))
    return QualityModel(labels, keep, weights.detach().numpy().T.copy(), bias.detach().numpy())


def _prove(model: QualityModel, held_out: Sequence[LabelledText]) -> Proof:
    right: Counter[str] = Counter()
    for one in held_out:
        right[one.label] += model.labels[int(model.probabilities(one.text).argmax())] == one.label
    found = Counter(one.label for one in held_out)
    return Proof(
        len(held_out),
        right.total() / len(held_out),
        max(found.values()) / len(held_out),
        {label: right[label] / found[label] for label in found},
    )
