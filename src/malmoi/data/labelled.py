"""Labelled texts and their splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from malmoi.core.config import key_of
from malmoi.core.errors import UserError, nearest
from malmoi.core.hashing import text_digest
from malmoi.data.batch import IGNORED, Answer, LabelledBatch
from malmoi.data.parts import PartSettings


@dataclass(frozen=True)
class LabelledText:
    """A text, or a pair of them, and its label: the name of a class, of several with `|` between them, or a number."""

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


class SplitSettings(PartSettings):
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


def several(label: str) -> list[str]:
    """The classes that a label names."""
    return [name.strip() for name in label.split("|") if name.strip()]


def class_names(splits: Splits, answer: Answer = "class") -> list[str]:
    """Names of the classes of the training texts, sorted.

    Raises:
        UserError: a class occurs in validation or test only, there is but one, or there are no texts to test on.
    """

    def names(texts: Sequence[LabelledText]) -> set[str]:
        return {name for text in texts for name in (several(text.label) if answer == "classes" else [text.label])}

    classes = sorted(names(splits.train))
    for name, part in (("validation", splits.validation), ("test", splits.test)):
        unseen = sorted(names(part) - set(classes))
        if unseen:
            raise UserError(
                f"The label {unseen[0]!r} occurs in the {name} texts only.",
                nearest(unseen[0], classes) or "Add training texts of this label, or remove it.",
            )
    if len(classes) == 1:
        raise UserError(
            f"All texts to learn from have the label {classes[0]!r}; a classifier tells at least two apart.",
            f"Check the label column, {key_of('label')}=COLUMN, or add texts of another class.",
        )
    if not classes or not splits.test:
        known, purpose = len(splits.train + splits.validation + splits.test), "test on" if classes else "learn from"
        change = f"{'raise' if classes else 'lower'} {key_of('test')}, the share of them that is tested on"
        raise UserError(f"Of {known} labelled texts none is left to {purpose}.", f"Add texts, or {change}.")
    return classes


@dataclass(frozen=True)
class EncodedText:
    """What a classifier sees of a text: ids, or hidden states that stand for them.

    Attributes:
        tokens: (length,) int64 or (length, width) float32.
        label: a row of `LabelledBatch.labels`; IGNORED when it is not known.
        segments: (length,) int64, which text of a pair each token belongs to; None where there is no pair.
    """

    tokens: torch.Tensor
    label: int | float | torch.Tensor = IGNORED
    segments: torch.Tensor | None = None


def collate_labelled(texts: Sequence[EncodedText]) -> LabelledBatch:
    """A batch padded on the right with zeros."""
    lengths = torch.tensor([len(text.tokens) for text in texts])
    tokens = pad_sequence([text.tokens for text in texts], batch_first=True)
    segments = [text.segments for text in texts if text.segments is not None]
    padded = pad_sequence(segments, batch_first=True) if segments else None
    labels = torch.stack([torch.as_tensor(text.label) for text in texts])
    return LabelledBatch(tokens, lengths, labels, padded)


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
