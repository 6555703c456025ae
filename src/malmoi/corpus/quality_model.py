"""A filter that the user trains on labelled lines: hashed n-grams of characters and words, and logistic regression.

What is quality, or toxic, depends on who asks; so none is shipped. One that does not beat naming the commonest label on
texts it has not seen is not written at all.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from malmoi.core.errors import UserError, nearest
from malmoi.core.files import atomic_directory, read_json, write_json
from malmoi.corpus.document import Document
from malmoi.corpus.measures import Text
from malmoi.corpus.step import Filter, Verdict

BUCKETS = 1 << 18
"""Numbers that n-grams are hashed to."""
GRAMS = (2, 3, 4)
"""Characters of an n-gram; in Korean two syllables already are most stems."""
WEIGHTS, CARD = "model.safetensors", "filter.json"
EPOCHS, BATCH, RATE = 8, 128, 0.05
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
Labelled = Sequence[tuple[str, str]]
"""Texts and their labels."""


@dataclass(frozen=True)
class Proof:
    """What a filter got right of texts it has not seen.

    Attributes:
        labels: sorted.
        texts: how many were held out.
        accuracy: share of them that got their own label.
        majority: share that naming the commonest label gets right.
        recall: of each label's texts, the share that got it.
    """

    labels: list[str]
    texts: int
    accuracy: float
    majority: float
    recall: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether the accuracy is above the majority's by two standard errors."""
        return self.accuracy - self.majority > 2 * math.sqrt(self.majority * (1 - self.majority) / max(1, self.texts))


@dataclass(frozen=True)
class QualityModel:
    """A trained filter.

    Attributes:
        weights: (labels, BUCKETS) float32.
        bias: (labels,) float32.
    """

    labels: list[str]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def probabilities(self, text: str) -> NDArray[np.float32]:
        """(labels,) the probability of each label."""
        buckets, values = features(text)
        scores = self.weights[:, buckets] @ values + self.bias
        shares = np.exp(scores - scores.max())
        return np.asarray(shares / shares.sum(), np.float32)


class QualityFilter(Filter):
    """Drops texts whose probability of the label `keep` is below `least`.

    Raises:
        UserError: the directory holds no filter, or the filter has no such label.
    """

    def __init__(self, directory: Path, keep: str, least: float = 0.5) -> None:
        self._model, self._keep, self._least = load_quality_model(directory), keep, least
        if keep not in self._model.labels:
            known = ", ".join(self._model.labels)
            raise UserError(
                f"The filter {directory} has no label {keep!r}.", nearest(keep, known) or f"It has {known}."
            )

    def judge(self, document: Document) -> Iterator[Verdict]:
        """One verdict: the probability of the label that is to be kept."""
        value = float(self._model.probabilities(document.text)[self._model.labels.index(self._keep)])
        yield Verdict(f"quality model, {self._keep}", round(value, 4), f">= {self._least:g}", value >= self._least)


def features(text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Sorted buckets of a text's n-grams and their values, square roots of counts scaled to a length of one."""
    codes = Text(" ".join(["", *text.lower().split(), ""])).codes.astype(np.uint64)
    hashes = [np.array([zlib.crc32(word.encode()) for word in text.lower().split()], np.uint64) * _FACTOR]
    grams = codes
    for size in range(2, max(GRAMS) + 1):
        grams = grams[:-1] * _FACTOR + codes[size - 1 :]
        if size in GRAMS:
            hashes.append((grams ^ grams >> np.uint64(29)) * _FACTOR)
    high = np.concatenate(hashes) >> np.uint64(64 - BUCKETS.bit_length() + 1)
    buckets, counts = np.unique(high.astype(np.int64), return_counts=True)
    values = np.sqrt(counts)
    return buckets, (values / max(1e-6, float(np.linalg.norm(values)))).astype(np.float32)


def train_quality_model(train: Labelled, held_out: Labelled, directory: Path) -> Proof:
    """Train a filter, prove it on the held-out texts, write it into `directory`.

    Raises:
        UserError: it proves nothing; nothing is written then.
    """
    model = _fit(train)
    proof = _prove(model, held_out)
    if not proof.holds:
        raise UserError(
            f"The filter gets {proof.accuracy:.1%} of {proof.texts} held-out texts right, and naming the commonest "
            f"label {proof.majority:.1%}: that proves nothing, so it was not written.",
            "Give more labelled lines, or lines whose labels can be told from their words.",
        )
    with atomic_directory(directory) as made:
        save_file({"weights": model.weights, "bias": model.bias}, made / WEIGHTS)
        write_json(made / CARD, {"buckets": BUCKETS, "grams": GRAMS, "trained_on": len(train), **asdict(proof)})
    return proof


def load_quality_model(directory: Path) -> QualityModel:
    """Read a trained filter.

    Raises:
        UserError: the directory holds none, or it is damaged or of another version.
    """
    way_out = "Train it: malmoi corpus train-filter FILE --out DIR."
    try:
        card: dict[str, Any] = read_json(directory / CARD)
        tensors = load_file(directory / WEIGHTS)
        labels, weights, bias = list(map(str, card["labels"])), tensors["weights"], tensors["bias"]
    except FileNotFoundError:
        raise UserError(f"{directory} holds no trained filter.", way_out) from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"The filter in {directory} is damaged: {error}.", way_out) from None
    same = weights.shape == (len(labels), BUCKETS) and bias.shape == (len(labels),) and card.get("grams") == list(GRAMS)
    if not same:
        raise UserError(f"The filter in {directory} is of another version.", way_out)
    return QualityModel(labels, weights, bias)


def _fit(train: Labelled) -> QualityModel:
    """Logistic regression by Adam; the same weights for the same texts."""
    import torch
    from torch.nn.functional import cross_entropy, embedding_bag

    labels = sorted({label for _, label in train})
    rows = [features(text) for text, _ in train]
    targets = torch.tensor([labels.index(label) for _, label in train])
    weights = torch.zeros(BUCKETS, len(labels), requires_grad=True)
    bias = torch.zeros(len(labels), requires_grad=True)
    optimizer = torch.optim.Adam([weights, bias], lr=RATE)
    dice = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        order = torch.randperm(len(rows), generator=dice)
        for at in range(0, len(rows), BATCH):
            chosen = [rows[place] for place in order[at : at + BATCH].tolist()]
            buckets = torch.from_numpy(np.concatenate([row[0] for row in chosen]))
            values = torch.from_numpy(np.concatenate([row[1] for row in chosen]))
            starts = torch.tensor([0, *[len(row[0]) for row in chosen]]).cumsum(0)[:-1]
            scores = embedding_bag(buckets, weights, starts, mode="sum", per_sample_weights=values) + bias
            optimizer.zero_grad()
            loss = cross_entropy(scores, targets[order[at : at + BATCH]])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return QualityModel(labels, weights.detach().numpy().T.copy(), bias.detach().numpy())


def _prove(model: QualityModel, held_out: Labelled) -> Proof:
    right: Counter[str] = Counter()
    for text, label in held_out:
        right[label] += model.labels[int(model.probabilities(text).argmax())] == label
    found = Counter(label for _, label in held_out)
    return Proof(
        model.labels,
        len(held_out),
        right.total() / max(1, len(held_out)),
        max(found.values(), default=0) / max(1, len(held_out)),
        {label: right[label] / found[label] for label in found},
    )
