"""From readers to a corpus: clean in parallel, find what repeats, write in order; what is dropped has a reason."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import malmoi
from malmoi.core.console import progress
from malmoi.core.files import read_json, write_json
from malmoi.core.hashing import hash_value, text_digest
from malmoi.corpus.clean import Job, Reader, normalized, run_job
from malmoi.corpus.contamination import EvaluationTexts
from malmoi.corpus.counts import Counts
from malmoi.corpus.document import Document
from malmoi.corpus.duplicates import BANDS, Similar, first_of_equal, near_duplicates
from malmoi.corpus.engine import Engine, run_tasks
from malmoi.corpus.parts import Cleaned, Parts
from malmoi.corpus.repeated import RepeatedText, repeated_hashes
from malmoi.corpus.shingles import HANGUL, Hashes
from malmoi.corpus.step import Verdict
from malmoi.corpus.steps import StepSettings
from malmoi.corpus.store import DROPPED_SCHEMA, DocumentWriter

LONG = 100_000
"""Characters; holding out one such document or none would miss the share that is to be held out."""

EXAMPLES, SHOWN = 5, 200
"""Documents that are shown of each rule, and characters of each."""

WORK = "checkpoints"
"""Folder of the parts from which a killed build goes on."""


class BuildSettings(StepSettings):
    """What becomes of documents.

    Attributes:
        normalize: NFC and no invisible characters; False leaves every character as it is.
        near_duplicates: least Jaccard similarity of shingles from which the later of two documents is dropped, such as
            0.8; 0 drops only equal texts.
        repeated_lines: lines and paragraphs that so many documents share stay in the first only; 0 leaves them.
        decontaminate: drop also what shares a passage of 40 characters with a text that models are evaluated on, not
            only what is equal to one.
        provenance: write the sha256 of every text into its metadata.
        held_out: share of the text that no model is trained on.
        held_out_by: whole "document"s chosen by their hash; the "tail" of each one, for a single long text; or "auto",
            which takes documents, but the tail of one that is longer than `LONG` characters.
        workers: processes; 0 for one a core, or one in all for little text. The result does not depend on it.
        engine: "processes" of this machine, or the nodes of a "ray" cluster that share the run's directory.
    """

    normalize: bool = True
    near_duplicates: float = Field(default=0.0, ge=0, le=1)
    repeated_lines: int = Field(default=0, ge=0)
    decontaminate: bool = True
    provenance: bool = False
    held_out: float = Field(default=0.05, ge=0, lt=1)
    held_out_by: Literal["auto", "document", "tail"] = "auto"
    workers: int = Field(default=0, ge=0, exclude=True)
    engine: Engine = Field(default="processes", exclude=True)


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

Sampler = Callable[[Mapping[str, int]], Mapping[str, float]]
"""Bytes of each source that are left -> the bytes to take of it; all of a source that is not named."""


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
