"""From readers to a corpus: clean in parallel, find what repeats, write in order; what is dropped has a reason."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import malmoi
from malmoi.core.console import progress
from malmoi.core.files import read_json, write_json
from malmoi.core.hashing import hash_value, text_digest
from malmoi.corpus.clean import Job, Reader, normalized, run_job
from malmoi.corpus.contamination import EvaluationTexts
from malmoi.corpus.counts import Counts
from malmoi.corpus.decide import Decided, Sampler, decide
from malmoi.corpus.document import Document
from malmoi.corpus.engine import run_tasks
from malmoi.corpus.parts import Cleaned, Parts
from malmoi.corpus.settings import LONG, BuildSettings
from malmoi.corpus.shingles import HANGUL
from malmoi.corpus.step import Verdict
from malmoi.corpus.store import DROPPED_SCHEMA, DocumentWriter

EXAMPLES, SHOWN = 5, 200
"""Documents that are shown of each rule, and characters of each."""

WORK = "checkpoints"
"""Folder of the parts from which a killed build goes on."""


@dataclass(frozen=True)
class Source:
    """A reader and what is known of it before it reads.

    Attributes:
        name: by which a killed build knows it again; one without a name is read anew.
        bytes: on disk.
        stripes: how many workers may read it, each taking its share of the documents.
    """

    reader: Reader
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    bytes: int = 0
    stripes: int = 1


_LATE = {"held_out", "held_out_by", "provenance"}
"""Settings that parts do not depend on."""


def build_corpus(
    sources: Sequence[Source],
    directory: Path,
    settings: BuildSettings,
    excluded: Iterable[Document] = (),
    sample: Sampler | None = None,
) -> dict[str, Any]:
    """Write `train.parquet`, `held_out.parquet`, `dropped.parquet` and what there is to say about them as JSON.

    That is `counts.json`, `examples.json` (a few documents that each rule dropped) and `unreadable.json`.

    A build that was killed goes on from the parts in `directory`/checkpoints, if it is called with the same arguments.

    Args:
        excluded: texts that must not get into the corpus, such as those of a test set.

    Returns:
        the content of `counts.json`.
    """
    work = directory / WORK
    work.mkdir(parents=True, exist_ok=True)
    _forget_other_build(work, sources, settings)
    evaluation = _evaluation(work / "evaluation.npz", excluded, settings)
    outcomes = _clean(sources, work, settings, evaluation)
    parts = Parts(list(work.glob("*.arrow")))
    decided = decide(parts, settings, sample)
    counts, examples = _write(parts, decided, directory, settings)
    summary = counts.summary(sum(one["read"] for one in outcomes), sum(one["read_bytes"] for one in outcomes))
    unreadable = {path: reason for one in outcomes for path, reason in one["unreadable"].items()}
    write_json(directory / "unreadable.json", unreadable)
    write_json(directory / "examples.json", examples)
    write_json(directory / "counts.json", summary)
    return summary


def _clean(sources: Sequence[Source], work: Path, settings: BuildSettings, evaluation: Path | None) -> list[Any]:
    """The outcome of every source, in their order."""
    jobs = [
        Job(number, source.reader, settings, work, evaluation, stripe, source.stripes)
        for number, source in enumerate(sources)
        for stripe in range(source.stripes)
    ]
    outcomes: dict[int, Any] = {}
    with progress("corpus", sum(source.bytes for source in sources)) as advance:
        for outcome in run_tasks(run_job, jobs, worker_count(settings, sources), settings.engine):
            source = sources[outcome["job"]]
            advance(source.bytes / source.stripes)
            outcomes[outcome["job"]] = outcome
    return [outcomes[number] for number in range(len(sources))]


def worker_count(settings: BuildSettings, sources: Sequence[Source]) -> int:
    """How many processes are worth their start."""
    return settings.workers or min(os.cpu_count() or 1, 1 + sum(source.bytes for source in sources) // (1 << 26))


def _write(
    parts: Parts, decided: Decided, directory: Path, settings: BuildSettings
) -> tuple[Counts, dict[str, list[dict[str, str]]]]:
    counts = Counts()
    examples: dict[str, list[dict[str, str]]] = {}
    with (
        DocumentWriter(directory / "train.parquet") as train,
        DocumentWriter(directory / "held_out.parquet") as held_out,
        DocumentWriter(directory / "dropped.parquet", DROPPED_SCHEMA) as dropped,
        progress("writing", len(parts)) as advance,
    ):
        for number, row in enumerate(parts.rows()):
            if number % 1_000 == 0:
                advance(1_000)
            document, reason = _last_judgement(number, row, decided, parts, settings)
            if reason is not None:
                for tally in counts.of(document.source):
                    tally.drop(reason.rule, row.read_bytes)
                why = {"value": str(reason.value), "limit": str(reason.limit)}
                dropped.write(document, rule=reason.rule, **why)
                if len(shown := examples.setdefault(reason.rule, [])) < EXAMPLES:
                    shown.append({"identifier": document.identifier, **why, "text": document.text[:SHOWN]})
                continue
            if settings.provenance:
                digest = hashlib.sha256(document.text.encode()).hexdigest()
                document = replace(document, metadata={**document.metadata, "sha256": digest})
            parted = split_document(document, settings)
            for writer, part in zip((train, held_out), parted, strict=True):
                if part is not None:
                    writer.write(part)
            sizes = [len(part.text.encode()) if part is not None else 0 for part in parted]
            for tally in counts.of(document.source):
                hangul = HANGUL.search(document.text) is not None
                tally.keep(row.read_bytes, sum(sizes), sizes[1], hangul)
    return counts, examples


def _last_judgement(
    number: int, row: Cleaned, decided: Decided, parts: Parts, settings: BuildSettings
) -> tuple[Document, Verdict | None]:
    """The document as it is written, and why it is dropped, if it is: `decided` notes which one of its group stays."""
    document = row.document
    if row.dropped is not None:
        return document, row.dropped
    group = decided.group[number]
    if (first := int(decided.stays[group])) >= 0:
        other = parts.row(first)
        known = {**document.metadata, "duplicate_of": f"{other.document.source}/{other.document.identifier}"}
        equal = other.digest == row.digest
        rule, limit = ("duplicate", 1.0) if equal else ("near duplicate", settings.near_duplicates)
        similarity = 1.0 if equal else round(float(decided.similarity[number]), 4)
        return replace(document, metadata=known), Verdict(rule, similarity, f"< {limit}")
    if decided.surplus[number]:
        size, most = len(document.text.encode()), decided.budgets[document.source]
        return document, Verdict("surplus", size, f"{most:,.0f} bytes of {document.source}")
    if decided.repeated is not None and row.pieces is not None:
        text = decided.repeated.remove(document.text, row.pieces)
        if len(text) < settings.minimum_characters:
            return document, Verdict("repeated text", len(text), f">= {settings.minimum_characters}")
        decided.repeated.keep(row.pieces)
        document = replace(document, text=text)
    decided.stays[group] = number
    return document, None


def split_document(document: Document, settings: BuildSettings) -> tuple[Document | None, Document | None]:
    """The part of a document to train on and the part to hold out; the same at every run."""
    if settings.held_out_by == "document" or (settings.held_out_by == "auto" and len(document.text) < LONG):
        place = int.from_bytes(text_digest(document.text)[:4], "little") / 2**32
        return (None, document) if place < settings.held_out else (document, None)
    cut = int((1 - settings.held_out) * len(document.text))
    parts = [replace(document, text=text) if text else None for text in (document.text[:cut], document.text[cut:])]
    return parts[0], parts[1]


def _evaluation(path: Path, excluded: Iterable[Document], settings: BuildSettings) -> Path | None:
    """The file of what must not get in; None when there is nothing."""
    if not path.is_file():
        texts = EvaluationTexts.of((normalized(document, settings) for document in excluded), settings.decontaminate)
        texts.save(path)
    return path


def _forget_other_build(work: Path, sources: Sequence[Source], settings: BuildSettings) -> None:
    """Empty the folder of parts if they are those of other settings or files."""
    what = hash_value(
        [
            malmoi.__version__,
            settings.model_dump(mode="json", exclude=_LATE),
            [(source.name, source.bytes) for source in sources],
        ]
    )
    plan = work / "plan.json"
    if not plan.is_file() or read_json(plan) != what:
        shutil.rmtree(work)
        work.mkdir()
        write_json(plan, what)
