"""Pairs of texts of which one translates the other: reading them, and holding some out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import Field

from malmoi.core.compressed import kind_of, unpacked_name
from malmoi.core.config import Settings
from malmoi.core.errors import UserError, nearest
from malmoi.core.hashing import text_digest
from malmoi.data.examples import one_line
from malmoi.data.table import TABLES, read_rows, read_text

_END = re.compile(r"(?<=\w\w[.!?:])\s+(?![a-zà-ÿ])")
"""What stands between two sentences: behind a word, not behind an initial or a part of "e.g.", and not in one."""

SHOWN = 5
"""Places that are kept as examples of what was left out."""


@dataclass(frozen=True)
class Pair:
    """A text and its translation, each on one line.

    Attributes:
        file: name of the file of pairs it stands in, see `PairSettings`.
        place: the file's path and the line.
    """

    source: str
    target: str
    file: str = ""
    place: str = ""

    @property
    def keys(self) -> tuple[str, str]:
        """What pairs that count as equal have in common: case does not count."""
        return self.source.casefold(), self.target.casefold()


class PairSettings(Settings):
    """How pairs stand in files, and which of them are held out.

    Attributes:
        languages: endings of two files of which a line of one is translated by the same line of the other:
            `train.en` and `train.de`, which may be compressed.
        source_column, target_column: columns of tables, by name, or by number from 0 where a table has no header.
        quotes: whether quotation marks enclose fields of a tab-separated file.
        validation, test: names of the files that are held out, without their endings, as `multi30k/val`; "" holds out
            a share of every file instead.
        held_out: that share, half for validation and half for testing; chosen by the source, so that a text with
            several translations is on one side.
        sentences: whether pairs are learned sentence by sentence where both sides have as many: a word of a long text
            is then not seen at its end alone.
    """

    languages: tuple[str, str] = ("en", "de")
    source_column: str | int = 0
    target_column: str | int = 1
    quotes: bool = False
    validation: str = ""
    test: str = ""
    held_out: float = Field(0.02, ge=0, lt=1)
    sentences: bool = False


@dataclass
class LeftOut:
    """How many pairs were left out, by reason, and where the first of them stand.

    Attributes:
        counts: by reason.
        places: file and line of the first few, by reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, place: str = "") -> None:
        """Count one pair."""
        self.counts[reason] += 1
        known = self.places.setdefault(reason, [])
        if place and len(known) < SHOWN:
            known.append(place)


@dataclass(frozen=True)
class PairSplits:
    """Pairs to learn from and pairs that are held out; no text of a held-out pair, of either side, is learned from."""

    train: list[Pair]
    validation: list[Pair]
    test: list[Pair]
    left_out: LeftOut


def read_pair_splits(files: Mapping[str, Mapping[str, Path]], settings: PairSettings) -> PairSplits:
    """Read and split all pairs; the same at every run.

    Args:
        files: by source, by name; what is held out is called SOURCE/NAME, or NAME where the source is "".

    Raises:
        UserError: a file is missing, broken, or none of pairs; two files have unequal numbers of lines; nothing is left
            to learn from or to test on, or a held-out file is not there.
    """
    left_out = LeftOut()
    read: dict[str, list[Pair]] = {}
    for source, paths in files.items():
        for name, lines in _files_of_pairs(source, paths, settings):
            read.setdefault(name, []).extend(_whole(lines, name, left_out))  # `a.csv` and `a.tsv` have one name
    for wanted in filter(None, (settings.validation, settings.test)):
        if wanted not in read:
            way_out = nearest(wanted, read) or f"There are: {', '.join(read)}."
            raise UserError(f"There are no pairs {wanted!r} to hold out.", way_out)
    parts: dict[str, list[Pair]] = {"train": [], "validation": [], "test": []}
    for name, pairs in read.items():
        for pair in pairs:
            chosen = _part(pair, name, settings)
            parts[chosen] += by_sentence(pair) if settings.sentences and chosen == "train" else [pair]
    splits = _without_repeats(parts, left_out)
    for title, part in (("learn from", splits.train), ("test on", splits.test)):
        if not part:
            raise UserError(f"Of {sum(map(len, read.values())):,} pairs none is left to {title}.", "Add pairs.")
    return splits


def by_sentence(pair: Pair) -> list[Pair]:
    """A pair for each sentence where both sides have as many, else the pair as it is."""
    sources, targets = (_END.split(side) for side in (pair.source, pair.target))
    if len(sources) != len(targets):
        return [pair]
    return [replace(pair, source=source, target=target) for source, target in zip(sources, targets, strict=True)]


def _files_of_pairs(
    source: str, paths: Mapping[str, Path], settings: PairSettings
) -> Iterator[tuple[str, Iterable[tuple[str, str, str]]]]:
    """Name of each file, or of two files, and (place, source, target) of its lines."""
    named = [(str(unpacked_name(Path(name))), path) for name, path in paths.items()]
    by_name = dict(named)
    first, second = (f".{language}" for language in settings.languages)
    before = f"{source}/" if source else ""
    for name, path in named:  # `a.tsv` and `a.tsv.gz` are two files
        if kind_of(path) in TABLES:
            rows = read_rows(path, [settings.source_column, settings.target_column], settings.quotes)
            yield before + str(Path(name).with_suffix("")), ((f"{path}, line {line}", *row) for line, row in rows)  # type: ignore[misc]
        elif name.endswith(first):
            other = by_name.get(name.removesuffix(first) + second)
            if other is None:
                raise UserError(f"There is no file beside {path} that ends in {second}.", "Name both files.")
            yield before + name.removesuffix(first), _aligned(path, other)
        elif not name.endswith(second) or name.removesuffix(second) + first not in by_name:
            raise UserError(
                f"{path} is no file of pairs.",
                f"Give a .tsv, .csv or .jsonl file, or two that end in {first} and {second}, after `languages`.",
            )


def _aligned(first: Path, second: Path) -> list[tuple[str, str, str]]:
    """(place, source, target) of the lines of two files."""
    sources, targets = (read_text(path).removesuffix("\n").split("\n") for path in (first, second))
    if len(sources) != len(targets):
        raise UserError(
            f"{first} has {len(sources):,} lines, {second} has {len(targets):,}.",
            "Every line needs its translation in the same line of the other file.",
        )
    places = (f"{first}, line {number}" for number in range(1, len(sources) + 1))
    return list(zip(places, sources, targets, strict=True))


def _whole(lines: Iterable[tuple[str, str, str]], name: str, left_out: LeftOut) -> Iterator[Pair]:
    """The pairs of a file that have both sides, in NFC with single blanks."""
    for place, *sides in lines:
        source, target = map(one_line, sides)
        if not source or not target:
            left_out.add("empty side", place)
        elif "\ufffd" in source + target:
            left_out.add("undecodable", place)
        else:
            yield Pair(source, target, name, place)


def _part(pair: Pair, name: str, settings: PairSettings) -> str:
    for part in ("validation", "test"):
        if name == getattr(settings, part):
            return part
    place = int.from_bytes(text_digest(pair.keys[0])[:6], "little") / 2**48
    if not settings.test and place < settings.held_out / 2:
        return "test"
    return "validation" if not settings.validation and place > 1 - settings.held_out / 2 else "train"


def _without_repeats(parts: dict[str, list[Pair]], left_out: LeftOut) -> PairSplits:
    """Each pair once; in training none that shares a side with a held-out pair, in validation none of testing."""
    kept: dict[str, list[Pair]] = {}
    held_out: set[str] = set()
    for name in ("test", "validation", "train"):
        seen: set[tuple[str, str]] = set()
        kept[name] = []
        for pair in parts[name]:
            if not held_out.isdisjoint(pair.keys):
                left_out.add("held out too", pair.place)
            elif pair.keys in seen:
                left_out.add("repeated", pair.place)
            else:
                seen.add(pair.keys)
                kept[name].append(pair)
        held_out |= {side for pair in kept[name] for side in pair.keys}
    return PairSplits(kept["train"], kept["validation"], kept["test"], left_out)
