"""A filter that the user trains on labelled lines: hashed n-grams of characters and words, and logistic regression.

What is quality, or toxic, depends on who asks; so none is shipped. `malmoi corpus train-filter` makes one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, read_json, write_json
from malmoi.corpus.document import Document
from malmoi.corpus.measures import Text
from malmoi.corpus.step import Filter, Verdict

BUCKETS = 1 << 18
"""Numbers that n-grams are hashed to."""
GRAMS = (2, 3, 4)
"""Characters of an n-gram; in Korean two syllables already are most stems."""
WEIGHTS, CARD = "model.safetensors", "filter.json"
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class QualityModel:
    """A trained filter.

    Attributes:
        keep: the label of texts that are to be kept.
        weights: (labels, BUCKETS) float32.
        bias: (labels,) float32.
    """

    labels: list[str]
    keep: str
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def probabilities(self, text: str) -> NDArray[np.float32]:
        """(labels,) the probability of each label."""
        buckets, values = features(text)
        scores = self.weights[:, buckets] @ values + self.bias
        shares = np.exp(scores - scores.max())
        return np.asarray(shares / shares.sum(), np.float32)


class QualityFilter(Filter):
    """Drops texts to which the filter in `directory` gives its label `keep` with a probability below `least`.

    Raises:
        UserError: the directory holds no filter.
    """

    def __init__(self, directory: Path, least: float = 0.5) -> None:
        self._model, self._least = load_quality_model(directory), least

    def judge(self, document: Document) -> Iterator[Verdict]:
        """One verdict: the probability of the label that is to be kept."""
        model = self._model
        value = round(float(model.probabilities(document.text)[model.labels.index(model.keep)]), 4)
        yield Verdict(f"quality model, {model.keep}", value, f">= {self._least:g}", value >= self._least)


def features(text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Sorted buckets of a text's n-grams and their values, square roots of counts scaled to a length of one."""
    codes = Text(" ".join(["", *text.lower().split(), ""])).codes.astype(np.uint64)
    hashes = [
        np.array([zlib.crc32(word.encode(errors="replace")) for word in text.lower().split()], np.uint64) * _FACTOR
    ]
    grams = codes
    for size in range(2, max(GRAMS) + 1):
        grams = grams[:-1] * _FACTOR + codes[size - 1 :]
        if size in GRAMS:
            hashes.append((grams ^ grams >> np.uint64(29)) * _FACTOR)
    high = np.concatenate(hashes) >> np.uint64(64 - BUCKETS.bit_length() + 1)
    buckets, counts = np.unique(high.astype(np.int64), return_counts=True)
    values = np.sqrt(counts)
    return buckets, (values / max(1e-6, float(np.linalg.norm(values)))).astype(np.float32)


def save_quality_model(model: QualityModel, directory: Path, facts: dict[str, Any]) -> None:
    """Write a filter, and what is known about it beside."""
    with atomic_directory(directory) as made:
        (made / WEIGHTS).write_bytes(save({"weights": model.weights, "bias": model.bias}))
        write_json(made / CARD, {"keep": model.keep, "labels": model.labels, "grams": GRAMS, **facts})


def load_quality_model(directory: Path) -> QualityModel:
    """Read a trained filter.

    Raises:
        UserError: the directory holds none, or it is damaged or of another version.
    """
    way_out = "Train it: malmoi corpus train-filter FILE --keep LABEL --out DIR."
    if not (directory / CARD).is_file():
        raise UserError(f"{directory} holds no trained filter.", way_out)
    try:
        card = read_json(directory / CARD)
        tensors = load_file(directory / WEIGHTS)
        model = QualityModel(list(card["labels"]), str(card["keep"]), tensors["weights"], tensors["bias"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"The filter in {directory} is damaged: {error}.", way_out) from None
    size = len(model.labels)
    fits = model.weights.shape == (size, BUCKETS) and model.bias.shape == (size,) and model.keep in model.labels
    if not fits or card.get("grams") != list(GRAMS):
        raise UserError(f"The filter in {directory} is of another version.", way_out)
    return model
