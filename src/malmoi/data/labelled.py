"""Labelled texts from tables, and their splits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch.nn.utils.rnn import pad_sequence

from malmoi.core.config import Settings
from malmoi.core.errors import UserError, nearest
from malmoi.core.hashing import text_digest
from malmoi.corpus.normalize import normalize
from malmoi.data.batch import IGNORED, LabelledBatch
from malmoi.data.table import read_rows


@dataclass(frozen=True)
class LabelledText:
    """A text, or a pair of them, and the name of its class."""

    text: str
    label: str
    pair: str | None = None

    @property
    def whole(self) -> str:
        """The text, or both of a pair."""
        return self.text if self.pair is None else f"{self.text}\n{self.pair}"

    @property
    def key(self) -> str:
        """What texts that count as equal have in common: case does not count."""
        return self.whole.casefold()


class TableSettings(Settings):
    """How labelled texts stand in a file.

    Attributes:
        text, label: columns, by name, or by number from 0 where the table has no header.
        pair: column of the second text, where what is to be classified is a pair.
        quotes: whether quotation marks enclose fields of a tab-separated file.
        threshold: for numeric labels: above is "positive", below "negative", equal is left out.
    """

    text: str | int = "text"
    label: str | int = "label"
    pair: str | int | None = None
    quotes: bool = False
    threshold: float | None = None


class SplitSettings(Settings):
    """How labelled texts are split.

    Attributes:
        split: "hashed" decides by the text alone, so equal texts are on one side; "shuffled" takes the first, the
            next and the last rows of a seeded shuffle, as many books do, duplicates and all.
        balance: first draw as many texts of every class as the rarest has.
        validation, test: shares.
        split_seed: of the draw and of the shuffle.
    """

    split: Literal["hashed", "shuffled"] = "hashed"
    balance: bool = False
    validation: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.2, ge=0, lt=1)
    split_seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation={self.validation} and test={self.test} leave nothing to learn from")
        return self


@dataclass(frozen=True)
class Splits:
    """Three lists that have no text in common, unless the split was shuffled."""

    train: list[LabelledText]
    validation: list[LabelledText]
    test: list[LabelledText]

    def without_tested(self) -> Splits:
        """The same without those training and validation texts that are also tested."""
        tested = {text.key for text in self.test}
        train, validation = (
            [text for text in part if text.key not in tested] for part in (self.train, self.validation)
        )
        return Splits(train, validation, self.test)


def read_labelled(path: Path, settings: TableSettings) -> list[LabelledText]:
    """The labelled texts of a csv, tsv or jsonl file; texts in NFC, empty ones left out.

    Raises:
        UserError: the file or a column is missing, or a label is empty or no number; names the line.
    """
    texts = []
    for number, row in _rows(path, settings):
        text, label, *pair = map(normalize, row)
        name = _class_name(label, settings.threshold, f"{path}, line {number}")
        if text and name is not None:
            texts.append(LabelledText(text, name, *pair))
    if not texts:
        raise UserError(f"{path} has no labelled text.", "Check the columns: text=COLUMN label=COLUMN.")
    return texts


def split_labelled(texts: Sequence[LabelledText], settings: SplitSettings) -> Splits:
    """Split labelled texts; the same at every run."""
    chosen = _balanced(texts, settings.split_seed) if settings.balance else list(texts)
    if settings.split == "shuffled":
        order = np.random.RandomState(settings.split_seed).permutation(len(chosen))
        shuffled = [chosen[index] for index in order]
        first = int(len(chosen) * (1 - settings.validation - settings.test) + 1e-9)
        second = first + int(len(chosen) * settings.validation + 1e-9)
        return Splits(shuffled[:first], shuffled[first:second], shuffled[second:])
    parts: tuple[list[LabelledText], ...] = ([], [], [])
    for text in sorted(chosen, key=lambda text: _place(text, settings.split_seed)):
        place = _place(text, settings.split_seed)
        parts[2 if place < settings.test else 1 if place < settings.test + settings.validation else 0].append(text)
    return Splits(*parts)


def class_names(splits: Splits) -> list[str]:
    """Names of the classes of the training texts, sorted.

    Raises:
        UserError: a class occurs in validation or test only, there is but one, or there are no texts to test on.
    """
    classes = sorted({text.label for text in splits.train})
    for name, part in (("validation", splits.validation), ("test", splits.test)):
        unseen = sorted({text.label for text in part} - set(classes))
        if unseen:
            raise UserError(
                f"The label {unseen[0]!r} occurs in the {name} texts only.",
                nearest(unseen[0], classes) or "Add training texts of this label, or remove it.",
            )
    if not splits.test:
        raise UserError(f"Of {len(splits.train)} labelled texts none is left to test on.", "Add texts, or raise test.")
    if len(classes) < 2:
        raise UserError(f"The training texts have only the label {classes}.", "Check the label column.")
    return classes


@dataclass(frozen=True)
class EncodedText:
    """What a classifier sees of a text: ids, or hidden states that stand for them.

    Attributes:
        tokens: (length,) int64 or (length, width) float32.
        label: number of the class; IGNORED when it is not known.
        segments: (length,) int64, which text of a pair each token belongs to; None where there is no pair.
    """

    tokens: torch.Tensor
    label: int = IGNORED
    segments: torch.Tensor | None = None


def collate_labelled(texts: Sequence[EncodedText]) -> LabelledBatch:
    """A batch padded on the right with zeros."""
    lengths = torch.tensor([len(text.tokens) for text in texts])
    tokens = pad_sequence([text.tokens for text in texts], batch_first=True)
    segments = [text.segments for text in texts if text.segments is not None]
    padded = pad_sequence(segments, batch_first=True) if segments else None
    return LabelledBatch(tokens, lengths, torch.tensor([text.label for text in texts]), padded)


def _balanced(texts: Sequence[LabelledText], seed: int) -> list[LabelledText]:
    """As many of every class as the rarest has, drawn as pandas' `sample(n, random_state=seed)` draws."""
    by_class: dict[str, list[LabelledText]] = {}
    for text in texts:
        by_class.setdefault(text.label, []).append(text)
    size = min(map(len, by_class.values()))
    chosen: list[LabelledText] = []
    for members in by_class.values():
        drawn = np.random.RandomState(seed).permutation(len(members))[:size] if len(members) > size else range(size)
        chosen += [members[index] for index in drawn]
    return chosen


def _place(text: LabelledText, seed: int) -> float:
    return int.from_bytes(text_digest(f"{seed}/{text.key}")[:6], "little") / 2**48


def _class_name(label: str, threshold: float | None, where: str) -> str | None:
    if not label:
        raise UserError(f"{where}: the label is empty.", "Give the text a label, or remove the line.")
    if threshold is None:
        return label
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UserError(f"{where}: the label {label!r} is no number.", "Check the label column.")
    return None if value == threshold else "positive" if value > threshold else "negative"


def _rows(path: Path, settings: TableSettings) -> Iterator[tuple[int, list[str]]]:
    """Number, text, label and, where there is one, second text of every line."""
    pair = [] if settings.pair is None else [settings.pair]
    return read_rows(path, [settings.text, settings.label, *pair], settings.quotes)
