"""Read, normalise, filter and deduplicate documents."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from malmoi.core.config import Settings
from malmoi.core.console import console, verbatim
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file, read_json, write_json
from malmoi.corpus.build import build_corpus
from malmoi.corpus.clean import UnreadableFiles
from malmoi.data.shares import BYTES_A_TOKEN, Share, share_out
from malmoi.pipeline.corpus_card import corpus_card, likely_cause, reasons, warnings
from malmoi.pipeline.corpus_files import File, excluded_documents, files_of, group_files
from malmoi.pipeline.corpus_settings import CorpusSettings, check_names, named_sources
from malmoi.pipeline.stage import Stage


def run(settings: CorpusSettings, directory: Path) -> dict[str, Any]:
    """Write the corpus into `directory`."""
    files = files_of(settings)
    counts = _build(files, settings, directory)
    whole = settings.held_out and settings.held_out_by == "auto"
    if counts["kept"] and whole and counts["held_out_bytes"] in (0, counts["bytes"]):
        console.print("  too few documents to hold whole ones out: the tail of each is held out")
        counts = _build(files, settings.model_copy(update={"held_out_by": "tail"}), directory)
    unreadable = read_json(directory / "unreadable.json")
    print_unreadable(unreadable)
    if not counts["kept"]:
        raise UserError(
            f"Nothing is left of {counts['read']:,} documents in {len(files)} files: {reasons(counts, unreadable)}.",
            likely_cause(counts, settings) or "Lower the filters (minimum_characters, letters), or add text.",
        )
    for warning in (found := warnings(counts, settings)):
        console.print(f"  [bold red]{verbatim(warning)}[/bold red]")
    with atomic_file(directory / "card.md") as card:
        card.write(corpus_card(counts, settings, files, found, unreadable))
    console.print(
        f"  {counts['read']:,} documents read, {counts['kept']:,} kept ({counts['bytes'] / 1e6:.1f} MB, "
        f"{counts['held_out_bytes'] / 1e6:.1f} MB held out), dropped: {reasons(counts, {})}",
        markup=False,
    )
    licences = {file.source: file.licence for file in files}
    return {**counts, "unreadable": unreadable, "warnings": found, "licences": licences}


def print_unreadable(unreadable: UnreadableFiles) -> None:
    """Name the files that could not be read, and why."""
    for path, reason in unreadable.items():
        console.print(f"  [yellow]not read[/yellow] {verbatim(path)}: {verbatim(reason)}")


def _build(files: list[File], settings: CorpusSettings, directory: Path) -> dict[str, Any]:
    workers = settings.workers or os.cpu_count() or 1
    mixed: dict[str, Share] = {}
    left: dict[str, float] = {}

    def sample(sizes: Mapping[str, int]) -> dict[str, float]:
        left.update({source: size / BYTES_A_TOKEN for source, size in sizes.items()})
        weights = {source: weight for source, weight in settings.mixture.items() if source in left}
        mixed.update(share_out(weights, left, settings.tokens, settings.most_epochs) if weights else {})
        if settings.tokens is None:
            return {}
        return {source: size * mixed[source].epochs if source in mixed else 0.0 for source, size in sizes.items()}

    sources, sampler = group_files(files, workers), sample if settings.mixture else None
    counts = build_corpus(sources, directory, settings, excluded_documents(settings), sampler)
    if mixed:
        shares = {
            name: _as_written(share, left[name], counts["sources"][name]["bytes"]) for name, share in mixed.items()
        }
        write_json(directory / "mixture.json", shares)
    return counts


def _as_written(share: Share, left: float, size: int) -> dict[str, float]:
    """A share of `left` tokens, and the epochs that it takes of the `size` bytes which were written."""
    tokens = size / BYTES_A_TOKEN
    return asdict(share) | {"tokens": tokens, "epochs": share.epochs * left / tokens if tokens else 0.0}


def _in_recipe(settings: CorpusSettings, stages: Mapping[str, Settings]) -> CorpusSettings:
    if sources := named_sources(settings, stages):
        check_names(settings, sources)
    if settings.evaluation is not None:
        return settings
    from malmoi.pipeline.evaluation_sets import evaluation_sets

    return settings.model_copy(update={"evaluation": evaluation_sets(settings.fetch, list(stages.values()))})


STAGE = Stage(CorpusSettings, run, in_recipe=_in_recipe)
