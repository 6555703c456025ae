"""What one worker does: read some files, apply the steps to every document, leave parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from malmoi.core.files import read_json, write_json
from malmoi.core.hashing import text_digest
from malmoi.corpus.contamination import EvaluationTexts
from malmoi.corpus.document import Document
from malmoi.corpus.duplicates import band_keys
from malmoi.corpus.normalize import normalize
from malmoi.corpus.parts import Cleaned, write_part
from malmoi.corpus.repeated import piece_hashes
from malmoi.corpus.settings import BuildSettings
from malmoi.corpus.step import Step
from malmoi.corpus.steps import apply_steps, make_steps

UnreadableFiles = dict[str, str]
"""Path -> why a file gave no documents, or not all."""

Reader = Callable[[UnreadableFiles], Iterator[Document]]
"""Gives the documents of some files, the same at every call, and notes the files that it cannot read."""

DOCUMENTS, CHARACTERS = 4_096, 1 << 23
"""Of a part: so many documents, or fewer long ones."""


@dataclass(frozen=True)
class Job:
    """What a worker is told.

    Attributes:
        number: of the reader among all, which is the beginning of its parts' names.
        stripe: the worker makes every `stripes`-th part, beginning with this one, so that several share a large file.
        directory: where parts go.
        evaluation: file of the evaluation texts.
    """

    number: int
    reader: Reader
    settings: BuildSettings
    directory: Path
    evaluation: Path | None
    stripe: int = 0
    stripes: int = 1


def run_job(job: Job) -> dict[str, Any]:
    """Write the job's parts that are not there yet; how many documents and bytes were read, and what could not be."""
    done = job.directory / f"{job.number:06d}-{job.stripe}-{job.stripes}.json"
    if done.is_file():
        return dict(read_json(done))
    steps = make_steps(job.settings, EvaluationTexts.load(job.evaluation) if job.evaluation else None)
    unreadable: UnreadableFiles = {}
    read, read_bytes = 0, 0
    for number, batch in enumerate(_batches(job.reader(unreadable))):
        path = job.directory / f"{job.number:06d}-{number:06d}.arrow"
        read, read_bytes = read + len(batch), read_bytes + sum(len(document.text.encode()) for document in batch)
        if number % job.stripes == job.stripe and not path.is_file():
            write_part(path, _with_bands([clean(document, steps, job.settings) for document in batch], job.settings))
    result = {"job": job.number, "read": read, "read_bytes": read_bytes, "unreadable": unreadable}
    write_json(done, result)
    return result


def clean(document: Document, steps: Sequence[Step], settings: BuildSettings) -> Cleaned:
    """One document normalised, judged and measured for what needs all documents."""
    size = len(document.text.encode())
    document, dropped = apply_steps(normalized(document, settings), steps)
    text = document.text
    if dropped is not None:
        return Cleaned(document, size, text_digest(text), dropped)
    pieces = piece_hashes(text) if settings.repeated_lines else None
    return Cleaned(document, size, text_digest(text), None, None, pieces)


def _with_bands(batch: list[Cleaned], settings: BuildSettings) -> list[Cleaned]:
    if not settings.near_duplicates:
        return batch
    kept = [place for place, one in enumerate(batch) if one.dropped is None]
    for place, keys in zip(kept, band_keys([batch[place].document.text for place in kept]), strict=True):
        batch[place] = replace(batch[place], bands=keys)
    return batch


def normalized(document: Document, settings: BuildSettings) -> Document:
    """The document as the steps see it."""
    return replace(document, text=normalize(document.text)) if settings.normalize else document


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) >= DOCUMENTS or characters >= CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
