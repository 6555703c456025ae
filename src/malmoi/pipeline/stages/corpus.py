"""Read, normalise, filter and deduplicate documents."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from malmoi.core.config import Settings, key_of
from malmoi.core.console import console, verbatim
from malmoi.core.errors import MissingExtra, UserError, nearest
from malmoi.core.files import STAGE_RECORD, atomic_file, by_name, read_json, visible_files, write_json
from malmoi.core.hashing import hash_value
from malmoi.corpus.build import Source, build_corpus
from malmoi.corpus.clean import UnreadableFiles
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.extract import NoExtraction
from malmoi.corpus.read import ReadSettings, document_kind, printable, read_file
from malmoi.corpus.settings import BuildSettings
from malmoi.data.shares import BYTES_A_TOKEN, Share, share_out
from malmoi.pipeline.corpus_card import corpus_card, likely_cause, reasons, warnings
from malmoi.pipeline.stage import Stage, StageInput
from malmoi.pipeline.stages.crawl import archive_files
from malmoi.pipeline.stages.fetch import MANIFEST, FetchSettings, manifest_files


class CorpusSettings(BuildSettings):
    """Settings of the stage.

    Attributes:
        fetch: a fetch stage.
        sources: which of its sources, all by default; "SOURCE/FILE" for one file of a source.
        crawl: a crawl stage; its pages are the source `crawl`.
        folder: your own folder of text; every file in it that can be read, in its subfolders too.
        folders: several of them, each a source of its folder's name, with the name before it where two share one.
        read: how to read a source, by its name (`folder` for your own).
        exclude: "SOURCE/FILE" of fetched files whose texts must not get into the corpus.
        exclude_files: files or folders of your own whose texts must not.
        evaluation: labelled texts of the fetch stage whose test parts must not get in either, in the words of
            `classify`, or with `stage: questions` of that stage; by default those that other stages of the recipe are
            tested on.
        quality: a quality model that `malmoi corpus train-filter` made.
        mixture: source -> its share of the tokens that a model is trained on; what a source that is too small cannot
            give, the others do.
        tokens: of the whole mixture; what a source has beyond its share is left out. By default nothing is, and the
            shares are those of the most tokens for which every source is large enough.
        most_epochs: how often the text of one source may be read.
    """

    fetch: StageInput | None = None
    sources: list[str] | None = None
    crawl: StageInput | None = None
    folder: StageInput | None = None
    folders: list[StageInput] = []
    read: dict[str, ReadSettings] = {}
    exclude: list[str] = []
    exclude_files: list[StageInput] = []
    evaluation: list[dict[str, Any]] | None = None
    quality: StageInput | None = None
    mixture: dict[str, float] = {}
    tokens: int | None = Field(default=None, ge=1)
    most_epochs: float = Field(default=4.0, gt=0)

    @field_validator("exclude")
    @classmethod
    def _are_fetched(cls, names: list[str]) -> list[str]:
        for name in names:
            if name.startswith(("/", "~", ".")):
                raise ValueError(f"{name} is no SOURCE/FILE; files of your own go into 'exclude_files'")
        return names


OWN = "folder"
"""The source of what is read from a folder of one's own."""

GROUP_BYTES, GROUP_FILES = 1 << 25, 512
"""Of the small files that one worker reads at a time."""

LIGHT = {".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".parquet"}
"""Kinds of files whose reading is cheap, so that several workers may read the same large one."""


@dataclass(frozen=True)
class File:
    """A file to read; `name` is its own within the source."""

    path: Path
    name: str
    source: str
    licence: str
    settings: ReadSettings
    own: bool = False


@dataclass(frozen=True)
class FileReader:
    """Reads files one after the other; a `Reader` that a worker process can be given."""

    files: tuple[File, ...]

    def __call__(self, unreadable: UnreadableFiles) -> Iterator[Document]:
        for file in self.files:
            try:
                yield from read_file(file.path, file.source, file.licence, file.settings, file.name)
            except Unreadable as reason:
                unreadable[printable(file.path)] = str(reason)
            except UserError as error:
                if not file.own or isinstance(error, MissingExtra | NoExtraction):
                    raise
                unreadable[printable(file.path)] = printable(str(error))  # one odd table does not stop a folder


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


def files_of(settings: CorpusSettings) -> list[File]:
    """All files that the corpus is made from.

    Raises:
        UserError: there are none, or `read` names a source that is not among them.
    """
    files = [*_fetched(settings, settings.sources), *_crawled(settings), *_own(settings)]
    if not files:
        raise UserError("There is nothing to read.", "Set fetch=STAGE, crawl=STAGE, or folder=DIRECTORY.")
    _check_names(settings, {file.source for file in files})
    return files


def _named_sources(settings: CorpusSettings, stages: Mapping[str, Settings]) -> set[str] | None:
    """What the sources of a corpus will be called, by the settings of a recipe's stages; None where only files tell."""
    wanted, fetch = settings.sources, stages.get(str(settings.fetch))
    if wanted is None and isinstance(fetch, FetchSettings):
        wanted = fetch.sources
    if settings.folders or (settings.fetch is not None and wanted is None):
        return None
    fetched = wanted if settings.fetch is not None and wanted is not None else []
    if any(name.startswith("hf:") for name in fetched):
        return None
    own = {"crawl": settings.crawl, OWN: settings.folder}
    return {name.partition("/")[0] for name in fetched} | {name for name, path in own.items() if path is not None}


def check_mixture(corpus: Path, mixture: Iterable[str], stages: Mapping[str, Settings]) -> None:
    """Refuse a mixture of sources that the corpus of a recipe will not have, where that is known before it is made.

    Raises:
        UserError: there is no such source; names the nearest one.
    """
    settings = stages.get(str(corpus))
    if isinstance(settings, CorpusSettings) and (sources := _named_sources(settings, stages)):
        _check_sources("mixture", mixture, sources)


def _check_sources(setting: str, names: Iterable[str], sources: set[str]) -> None:
    for name in sorted(set(names) - sources):
        way_out = nearest(name, sources) or f"Sources: {', '.join(sorted(sources))}."
        raise UserError(f"{key_of(setting)} names the source {name!r}, which is not read.", way_out)


def _check_names(settings: CorpusSettings, sources: set[str]) -> None:
    _check_sources("read", settings.read, sources)
    _check_sources("mixture", settings.mixture, sources)


def group_files(files: Sequence[File], workers: int) -> list[Source]:
    """Files as what workers take: small ones together, a large one that reads cheaply by several workers."""
    groups: list[list[File]] = []
    room = 0
    for file in files:
        size = file.path.stat().st_size
        if not groups or size > room or len(groups[-1]) >= GROUP_FILES:
            groups.append([])
            room = GROUP_BYTES
        groups[-1].append(file)
        room -= size
    sources = []
    for group in groups:
        size = sum(file.path.stat().st_size for file in group)
        shared = size > 2 * GROUP_BYTES and document_kind(group[0].path) in LIGHT
        name = hash_value(
            [(str(file.path), file.name, file.source, file.licence, file.settings.model_dump()) for file in group]
        )
        sources.append(Source(FileReader(tuple(group)), name, size, workers if shared else 1))
    return sources


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


def excluded_documents(settings: CorpusSettings) -> Iterator[Document]:
    """The evaluation texts; what cannot be read of them could get into the corpus unseen."""
    if settings.evaluation:
        from malmoi.pipeline.evaluation_sets import evaluation_documents  # brings torch, which a cluster may not have

        yield from evaluation_documents(settings.evaluation, settings.fetch)
    unreadable: UnreadableFiles = {}
    files = _fetched(settings, settings.exclude) if settings.exclude else []
    for own in settings.exclude_files:
        paths = visible_files(own) if own.is_dir() else [own]
        files += [File(path, path.name, own.name, "", ReadSettings()) for path in paths]
    yield from FileReader(tuple(files))(unreadable)
    for name, reason in unreadable.items():
        raise UserError(f"{name}, which is to be excluded, cannot be read: {reason}.", "Mend it, or take it out.")


def _fetched(settings: CorpusSettings, wanted: list[str] | None) -> list[File]:
    """Files of the fetch stage; `wanted` names sources or SOURCE/FILE, None stands for all."""
    if settings.fetch is None:
        return []
    entries = {entry["name"]: entry for entry in read_json(settings.fetch / MANIFEST)["sources"]}
    files = []
    for name in entries if wanted is None else wanted:
        source, _, only = name.partition("/")
        paths = [path for path in manifest_files(settings.fetch, source) if only in ("", path.name)]
        if not paths:
            raise UserError(f"The source {source!r} has no file {only!r}.")
        read = settings.read.get(source, ReadSettings())
        root, licence = os.path.commonpath([path.parent for path in paths]), entries[source]["licence"]
        files += [File(path, path.relative_to(root).as_posix(), source, licence, read) for path in paths]
    return files


def _crawled(settings: CorpusSettings) -> list[File]:
    if settings.crawl is None:
        return []
    licence = read_json(settings.crawl / STAGE_RECORD)["settings"]["licence"]
    read = settings.read.get("crawl", ReadSettings())
    return [File(path, path.name, "crawl", licence, read) for path in archive_files(settings.crawl)]


def _own(settings: CorpusSettings) -> list[File]:
    named = list(by_name(settings.folders).items())
    if settings.folder is not None:
        named.append((OWN, settings.folder))
    return [file for source, folder in named for file in _folder_files(folder, source, settings)]


def _folder_files(folder: Path, source: str, settings: CorpusSettings) -> list[File]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.", "Name the folder that holds your files.")
    paths = visible_files(folder)
    if not any(document_kind(path) is not None for path in paths):
        raise UserError(f"{folder} has no file of text among {len(paths)} files.", "Add .txt, .html, .jsonl, …")
    read = settings.read.get(source, ReadSettings())
    return [File(path, path.relative_to(folder).as_posix(), source, "yours", read, own=True) for path in paths]


def _in_recipe(settings: CorpusSettings, stages: Mapping[str, Settings]) -> CorpusSettings:
    if sources := _named_sources(settings, stages):
        _check_names(settings, sources)
    if settings.evaluation is not None:
        return settings
    from malmoi.pipeline.evaluation_sets import evaluation_sets

    return settings.model_copy(update={"evaluation": evaluation_sets(settings.fetch, list(stages.values()))})


STAGE = Stage(CorpusSettings, run, in_recipe=_in_recipe)
