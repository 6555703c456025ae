"""What only all documents together can tell: which are alike, which are too many, which lines repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from malmoi.core.console import progress
from malmoi.corpus.duplicates import BANDS, Similar, first_of_equal, near_duplicates
from malmoi.corpus.parts import Parts
from malmoi.corpus.repeated import RepeatedText, repeated_hashes
from malmoi.corpus.settings import BuildSettings
from malmoi.corpus.shingles import Hashes

Sampler = Callable[[Mapping[str, int]], Mapping[str, float]]
"""Bytes of each source that are left -> the bytes to take of it; all of a source that is not named."""


@dataclass
class Decided:
    """What only all documents together can tell.

    Attributes:
        group: (n,) the number of the first document of the group of equal and similar ones that each is in.
        similarity: (n,) of each to its group.
        stays: (n,) the number of the document that stays of the group that begins here, -1 as long as none does.
        surplus: (n,) whether a document is more than its source is to give.
        budgets: source -> bytes that it is to give; all of a source that is not named.
        repeated: what removes repeated lines, if they are to be removed.
    """

    group: NDArray[np.int64]
    similarity: NDArray[np.float32]
    stays: NDArray[np.int64]
    surplus: NDArray[np.bool_]
    budgets: Mapping[str, float] = field(default_factory=dict)
    repeated: RepeatedText | None = None


def decide(parts: Parts, settings: BuildSettings, sample: Sampler | None = None) -> Decided:
    """Which documents are in one group, which are more than their source's share, and which lines repeat."""
    count, stays = len(parts), parts.kept()
    numbers = np.flatnonzero(stays)
    decided = Decided(np.arange(count), np.ones(count, np.float32), np.full(count, -1), np.zeros(count, bool))
    decided.group[numbers] = numbers[first_of_equal(parts.digests(stays))]
    stays &= decided.group == np.arange(count)
    if settings.near_duplicates:
        equal = decided.group.copy()
        for number, like in _similar(parts, stays, settings.near_duplicates).items():
            decided.group[number], decided.similarity[number] = like.first, like.similarity
        decided.group, decided.similarity = decided.group[equal], decided.similarity[equal]
        stays &= decided.group == np.arange(count)
    if sample is not None:
        _take_shares(parts, decided, stays, sample)
    if settings.repeated_lines:
        decided.repeated = RepeatedText(repeated_hashes(lambda: parts.pieces(stays), settings.repeated_lines))
    return decided


def _take_shares(parts: Parts, decided: Decided, stays: NDArray[np.bool_], sample: Sampler) -> None:
    """Take documents of each source in the order of their hashes, those that fit into its bytes; others leave `stays`.

    Where the first document of a group is surplus, one of a source that has room takes its place.
    """
    (names, sources), sizes = parts.sources(), parts.sizes()
    hashes = parts.digests().view(np.uint64)[1::2]  # the other half of a digest decides on what is held out
    decided.budgets = sample({name: int(sizes[stays & (sources == at)].sum()) for at, name in enumerate(names)})
    room = np.array([decided.budgets.get(name, np.inf) for name in names])
    decided.surplus |= stays
    for source in range(len(names)):
        left = np.flatnonzero(stays & (sources == source))
        left = left[np.argsort(hashes[left], kind="stable")]
        while len(left := left[sizes[left] <= room[source]]):
            fits = np.cumsum(sizes[left]) <= room[source]
            decided.surplus[left[fits]] = False
            room[source] -= sizes[left[fits]].sum()
            left = left[~fits]
    waiting = np.flatnonzero(decided.surplus[decided.group] & ~stays)
    stays &= ~decided.surplus
    replaced: set[int] = set()
    for number in waiting.tolist():
        source, group = sources[number], int(decided.group[number])
        decided.surplus[number] = group in replaced or sizes[number] > room[source]
        if not decided.surplus[number]:
            replaced.add(group)
            stays[number] = True
            room[source] -= sizes[number]


def _similar(parts: Parts, stays: NDArray[np.bool_], threshold: float) -> dict[int, Similar]:
    with progress("near duplicates", BANDS) as advance:

        def bands() -> Iterator[Hashes]:
            for band in range(BANDS):
                yield parts.bands(band, stays)
                advance()

        return near_duplicates(
            bands(), np.flatnonzero(stays), lambda number: parts.row(number).document.text, threshold
        )
