"""Read, normalise, filter and deduplicate documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from malmoi.core.console import console, progress
from malmoi.core.errors import MissingExtra, UserError, nearest
from malmoi.core.files import read_json, write_json
from malmoi.corpus.build import BuildSettings, build_corpus
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.read import ReadSettings, document_kind, read_file
from malmoi.pipeline.runner import RECORD
from malmoi.pipeline.stage import Stage, StageInput
from malmoi.pipeline.stages.crawl import archive_files
from malmoi.pipeline.stages.fetch import MANIFEST, manifest_files


class CorpusSettings(BuildSettings):
    """Settings of the stage.

    Attributes:
        fetch: a fetch stage.
        sources: which of its sources, all by default; "SOURCE/FILE" for one file of a source.
        crawl: a crawl stage; its pages are the source `crawl`.
        folder: your own folder of text; every file in it that can be read, in its subfolders too.
        read: how to read a source, by its name (`folder` for your own).
        exclude: "SOURCE/FILE" of fetched files whose texts must not get into the corpus.
    """

    fetch: StageInput | None = None
    sources: list[str] | None = None
    crawl: StageInput | None = None
    folder: StageInput | None = None
    read: dict[str, ReadSettings] = {}
    exclude: list[str] = []


def run(settings: CorpusSettings, directory: Path) -> dict[str, Any]:
    """Write the corpus into `directory`."""
    files = [*_fetched(settings, settings.sources), *_crawled(settings), *_own(settings)]
    if not files:
        raise UserError("There is nothing to read.", "Set fetch=STAGE, crawl=STAGE, or folder=DIRECTORY.")
    unknown = set(settings.read) - {source for _, source, _ in files}
    if unknown:
        name = sorted(unknown)[0]
        raise UserError(
            f"'read' names the source {name!r}, which is not read.", nearest(name, {s for _, s, _ in files})
        )
    unreadable: dict[str, str] = {}
    counts = _build(files, settings, directory, unreadable)
    if settings.held_out and settings.held_out_by == "auto" and counts["held_out_bytes"] in (0, counts["bytes"]):
        console.print("  too few documents to hold whole ones out: the tail of each is held out")
        counts = _build(files, settings.model_copy(update={"held_out_by": "tail"}), directory, unreadable)
    write_json(directory / "unreadable.json", unreadable)
    for path, reason in unreadable.items():
        console.print(f"  [yellow]not read[/yellow] {path}: {reason}")
    if not counts["kept"]:
        raise UserError(
            f"Nothing is left of {counts['read']:,} documents in {len(files)} files: {_reasons(counts, unreadable)}.",
            "Lower the filters (minimum_characters, letters), or add text.",
        )
    console.print(
        f"  {counts['read']:,} documents read, {counts['kept']:,} kept ({counts['bytes'] / 1e6:.1f} MB, "
        f"{counts['held_out_bytes'] / 1e6:.1f} MB held out), dropped: {_reasons(counts, {})}"
    )
    return {**counts, "unreadable": unreadable}


File = tuple[Path, str, str]
"""Path, source, licence."""

OWN = "folder"
"""The source of what is read from a folder of one's own."""


def _build(files: list[File], settings: CorpusSettings, directory: Path, unreadable: dict[str, str]) -> dict[str, Any]:
    excluded = _documents(_fetched(settings, settings.exclude) if settings.exclude else [], settings, unreadable)
    with progress("corpus", sum(path.stat().st_size for path, _, _ in files)) as advance:

        def documents() -> Iterator[Document]:
            for file in files:
                yield from _documents([file], settings, unreadable)
                advance(file[0].stat().st_size)

        return build_corpus(documents(), directory, settings, excluded)


def _documents(files: list[File], settings: CorpusSettings, unreadable: dict[str, str]) -> Iterator[Document]:
    for path, source, licence in files:
        try:
            yield from read_file(path, source, licence, settings.read.get(source, ReadSettings()))
        except Unreadable as reason:
            unreadable[str(path)] = str(reason)
        except UserError as error:
            if source != OWN or isinstance(error, MissingExtra):
                raise
            unreadable[str(path)] = str(error)  # one table of another kind does not stop a folder


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
        files += [(path, source, entries[source]["licence"]) for path in paths]
    return files


def _crawled(settings: CorpusSettings) -> list[File]:
    if settings.crawl is None:
        return []
    licence = read_json(settings.crawl / RECORD)["settings"]["licence"]
    return [(path, "crawl", licence) for path in archive_files(settings.crawl)]


def _own(settings: CorpusSettings) -> list[File]:
    if settings.folder is None:
        return []
    if not settings.folder.is_dir():
        raise UserError(f"{settings.folder} is not a folder.", "Name the folder that holds your files.")
    paths = sorted(path for path in settings.folder.rglob("*") if path.is_file() and not _hidden(path, settings.folder))
    known = [path for path in paths if document_kind(path) is not None]
    if not known:
        raise UserError(
            f"{settings.folder} has no file of text among {len(paths)} files.", "Add .txt, .html, .jsonl, …"
        )
    return [(path, OWN, "yours") for path in paths]


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _reasons(counts: dict[str, Any], unreadable: dict[str, str]) -> str:
    parts = [f"{reason} {number:,}" for reason, number in counts["dropped"].items()]
    return ", ".join([*parts, *([f"unreadable files {len(unreadable)}"] if unreadable else [])]) or "nothing"


STAGE = Stage(CorpusSettings, run)
