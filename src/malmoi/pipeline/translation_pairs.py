"""Which pairs of texts a translator learns from and is tested on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pydantic import NonNegativeInt

from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import by_name
from malmoi.data.pair_batches import EncodedPair
from malmoi.data.pairs import LeftOut, Pair, PairSettings, PairSplits, read_pair_splits
from malmoi.pipeline.stage import StageInput
from malmoi.pipeline.stages.fetch import MANIFEST, manifest_files
from malmoi.sources.card import find_card
from malmoi.sources.fetch import fetch_source
from malmoi.tokenizers.tokenizer import Tokenizer


class TranslationPairsSettings(PairSettings):
    """Where pairs are, how they are read and how they are split.

    Attributes:
        fetch: a fetch stage that has the pairs of `sources`.
        sources: cards of pairs.
        files: your own files of pairs, instead of `fetch` and `sources`.
        limit, test_limit: most pairs to learn from and to be tested on, from all files alike; 0 for all.
    """

    fetch: StageInput | None = None
    sources: list[str] = []
    files: list[StageInput] = []
    limit: NonNegativeInt = 0
    test_limit: NonNegativeInt = 0

    @property
    def are_here(self) -> bool:
        """Whether the pairs can be read without fetching anything."""
        return bool(self.files) or (self.fetch is not None and (self.fetch / MANIFEST).is_file())


def read_translation_pairs(settings: TranslationPairsSettings) -> PairSplits:
    """The pairs, fetched where they are named by their cards alone.

    Raises:
        UserError: no pairs are named, or both files and cards are; and as `read_pair_splits`.
    """
    if bool(settings.files) == bool(settings.sources):
        raise UserError("A translator learns from files of pairs or from sources.", "Set one of files and sources.")
    files = {"": by_name(settings.files)} if settings.files else {}
    for source in settings.sources:
        paths = fetch_source(source) if settings.fetch is None else manifest_files(settings.fetch, source)
        files[source] = {file.name: path for file, path in zip(find_card(source).files, paths, strict=True)}
    splits = read_pair_splits(files, settings)
    train, test = _at_most(splits.train, settings.limit), _at_most(splits.test, settings.test_limit)
    return dataclasses.replace(splits, train=train, test=test)


def _at_most(pairs: list[Pair], limit: int) -> list[Pair]:
    """So many of the pairs, from all files alike; 0 for all."""
    return pairs[:: -(-len(pairs) // limit)] if limit else pairs


def encode_pairs(
    tokenizer: Tokenizer, pairs: Sequence[Pair], longest: int, left_out: LeftOut
) -> tuple[list[Pair], list[EncodedPair]]:
    """The pairs whose sides have no more than `longest` tokens, the end of text among them, and their ids."""
    sources = tokenizer.encode_batch([pair.source for pair in pairs])
    targets = tokenizer.encode_batch([pair.target for pair in pairs])
    kept: list[Pair] = []
    encoded = []
    for pair, source, target in zip(pairs, sources, targets, strict=True):
        if max(len(source), len(target)) >= longest:
            left_out.add("too long", pair.place)
        else:
            kept.append(pair)
            encoded.append(EncodedPair([*source, tokenizer.end], [*target, tokenizer.end]))
    return kept, encoded


def print_left_out(left_out: LeftOut) -> None:
    """Say how many pairs are not used, and where the first of them stand."""
    for reason, count in left_out.counts.items():
        console.print(
            f"  {count:,} pairs left out, {reason}: {left_out.places[reason][0]}", soft_wrap=True, markup=False
        )
