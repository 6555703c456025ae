"""The files of a corpus: fetched, crawled, one's own, and those whose texts must not get in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from malmoi.core.errors import MissingExtra, UserError
from malmoi.core.files import STAGE_RECORD, by_name, read_json, visible_files
from malmoi.core.hashing import hash_value
from malmoi.corpus.build import Source
from malmoi.corpus.clean import UnreadableFiles
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.extract import NoExtraction
from malmoi.corpus.read import ReadSettings, document_kind, printable, read_file
from malmoi.pipeline.corpus_settings import OWN, CorpusSettings, check_names
from malmoi.pipeline.stages.crawl import archive_files
from malmoi.pipeline.stages.fetch import MANIFEST, manifest_files

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


def files_of(settings: CorpusSettings) -> list[File]:
    """All files that the corpus is made from.

    Raises:
        UserError: there are none, or `read` names a source that is not among them.
    """
    files = [*_fetched(settings, settings.sources), *_crawled(settings), *_own(settings)]
    if not files:
        raise UserError("There is nothing to read.", "Set fetch=STAGE, crawl=STAGE, or folder=DIRECTORY.")
    check_names(settings, {file.source for file in files})
    return files


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
