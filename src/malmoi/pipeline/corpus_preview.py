"""What a corpus's rules do to single documents: a few hundred before a build, one after it."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.table import Table

from malmoi.core.config import parse_settings
from malmoi.core.console import console, verbatim
from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.core.hashing import text_digest
from malmoi.corpus.build import Source, build_corpus
from malmoi.corpus.clean import UnreadableFiles, normalized
from malmoi.corpus.document import Document
from malmoi.corpus.steps import judge, make_steps
from malmoi.pipeline.corpus_files import File, FileReader, excluded_documents, files_of
from malmoi.pipeline.corpus_settings import CorpusSettings
from malmoi.pipeline.stages.corpus import print_unreadable

EXAMPLE = 60
"""Characters of a text that are shown."""


@dataclass
class RuleEffect:
    """What one rule did to the documents looked at.

    Attributes:
        dropped: how many it dropped, being the first that they broke.
        broken: how many broke it at all; as many where that is not measured alone.
        example: identifier, value, limit and beginning of one that it dropped.
    """

    rule: str
    dropped: int
    broken: int
    example: tuple[str, str, str, str]


@dataclass
class Preview:
    """The effect of all rules on `read` documents, `kept` of which stay; and the files that could not be read."""

    read: int
    kept: int
    rules: list[RuleEffect]
    unreadable: UnreadableFiles


@dataclass(frozen=True)
class _Sample:
    """Documents of one file after the other in turn, as long as they have any; the same at each call."""

    files: Sequence[File]
    count: int

    def __call__(self, unreadable: UnreadableFiles) -> Iterator[Document]:
        files = sorted(
            self.files, key=lambda file: text_digest(file.name)
        )  # some of every folder if not all have a turn
        readers = (FileReader((file,))(unreadable) for file in files)
        return itertools.islice(_in_turn(readers, self.count), self.count)


def _in_turn(readers: Iterator[Iterator[Document]], together: int) -> Iterator[Document]:
    """One document of each of so many readers, then the next of each; where one has ended another takes its place."""
    turns = deque(itertools.islice(readers, together))
    while turns:
        reader = turns.popleft()
        document = next(reader, None)
        if document is None:
            turns.extend(itertools.islice(readers, 1))
        else:
            turns.append(reader)
            yield document


def preview_corpus(settings: CorpusSettings, count: int) -> Preview:
    """Build a corpus of `count` documents in a temporary directory and count what each rule did."""
    sample = _Sample(files_of(settings), count)
    alone = settings.model_copy(update={"workers": 1, "engine": "processes", "held_out": 0.0})
    steps = make_steps(settings)
    documents = [normalized(document, settings) for document in sample({})]
    broken = Counter(verdict.rule for document in documents for verdict in judge(document, steps) if not verdict.holds)
    with tempfile.TemporaryDirectory() as directory:
        counts = build_corpus([Source(sample)], Path(directory), alone, excluded_documents(settings))
        examples, unreadable = (read_json(Path(directory) / f"{name}.json") for name in ("examples", "unreadable"))
    effects = [
        RuleEffect(rule, counts["dropped"].get(rule, 0), broken.get(rule, number), _example(examples.get(rule, [])))
        for rule, number in Counter({**broken, **counts["dropped"]}).most_common()
    ]
    return Preview(counts["read"], counts["kept"], effects, unreadable)


def print_preview(preview: Preview) -> None:
    """A table: a rule a row."""
    table = Table("rule", "dropped", "share", "broken", "for example", "value", "limit")
    for effect in preview.rules:
        name, value, limit, text = effect.example
        share = f"{effect.dropped / max(1, preview.read):.1%}"
        shown = verbatim(f"{name}: {text}" if name else "")
        table.add_row(
            verbatim(effect.rule),
            f"{effect.dropped:,}",
            share,
            f"{effect.broken:,}",
            shown,
            verbatim(value),
            verbatim(limit),
        )
    console.print(table)
    print_unreadable(preview.unreadable)
    console.print(f"{preview.kept:,} of {preview.read:,} documents would be kept.")


def explain_document(identifier: str, corpus: Path) -> None:
    """Print what became of a document, and every rule's verdict on it.

    Raises:
        UserError: the corpus has no such document.
    """
    if not (corpus / "dropped.parquet").is_file():
        raise UserError(f"{corpus} is no corpus: it has no dropped.parquet.", "Name a corpus stage's directory.")
    found = [
        (split, row)
        for split in ("dropped", "train", "held_out")
        for row in _rows(corpus / f"{split}.parquet", identifier)
    ]
    if not found:
        raise UserError(
            f"{corpus} has no document {identifier!r}.",
            "Identifiers are FILE#NUMBER or FILE#TITLE, as train.parquet has them.",
        )
    settings = recorded_settings(corpus)
    for split, row in found:
        name = verbatim(f"{row['source']}/{row['identifier']}")
        if split == "dropped":
            why = verbatim(f"{row['rule']} {row['value']}, limit {row['limit']}")
            console.print(f"[bold]{name}[/bold] was dropped: {why}")
            if other := json.loads(row["metadata"]).get("duplicate_of"):
                console.print(f"{verbatim(other)} stays.")
        else:
            console.print(f"[bold]{name}[/bold] is in {split}.parquet.")
        table = Table("rule", "value", "limit", "")
        verdicts = judge(Document(row["text"], row["source"], row["licence"], row["identifier"]), make_steps(settings))
        left = row.get("rule") in {verdict.rule for verdict in verdicts}  # what passed them all may be masked by now
        for verdict in verdicts:
            table.add_row(
                verbatim(verdict.rule),
                verbatim(verdict.value),
                verbatim(verdict.limit),
                "broken" if left and not verdict.holds else "",
            )
        console.print(table)
        console.print(verbatim(row["text"][:EXAMPLE]))


def recorded_settings(corpus: Path) -> CorpusSettings:
    """The settings with which a corpus was built."""
    record = read_json(corpus / "stage.json")
    return parse_settings(CorpusSettings, record["settings"], str(corpus))


def newest_corpus() -> Path:
    """The newest corpus below runs/.

    Raises:
        UserError: there is none.
    """
    found = [path.parent for path in Path("runs").glob("*/*/dropped.parquet")]
    if not found:
        raise UserError("There is no corpus below runs/.", "Name one with --corpus.")
    return max(found, key=lambda path: path.stat().st_mtime)


def _rows(path: Path, identifier: str) -> Iterator[dict[str, Any]]:
    for batch in pq.ParquetFile(path).iter_batches(1024):
        for row in batch.to_pylist():
            if identifier in (row["identifier"], f"{row['source']}/{row['identifier']}"):
                yield row


def _example(rows: Sequence[dict[str, str]]) -> tuple[str, str, str, str]:
    """Identifier, value, limit and beginning of the first; nothing where there is none."""
    if not rows:
        return "", "", "", ""
    return rows[0]["identifier"], rows[0]["value"], rows[0]["limit"], " ".join(rows[0]["text"].split())[:EXAMPLE]
