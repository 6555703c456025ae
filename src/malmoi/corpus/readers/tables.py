"""Tables: csv, tsv, Orange's tab, jsonl, parquet, and Arrow files as data sets of Hugging Face are saved."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from malmoi.core.errors import UserError, nearest
from malmoi.corpus.decode import json_text
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.readers.file import SourceFile
from malmoi.corpus.readers.pictures import read_pictures

TEXT_COLUMNS = ("text", "content", "document", "body", "review", "sentence", "message")
csv.field_size_limit(1 << 26)


def read_json_lines(file: SourceFile) -> Iterator[Document]:
    """One column of every record; a line that is no record is an empty document, so that the counts show it."""
    with file.lines() as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                record = None
            if not isinstance(record, dict):
                yield file.document("", number, unreadable="no JSON object")
                continue
            yield file.document(json_text(record[_column(file, list(record))]), number)


def read_csv(file: SourceFile) -> Iterator[Document]:
    """One column, between commas; or a picture in every row."""
    if file.settings.picture_width:
        yield from read_pictures(file, file.settings.picture_width)
        return
    with file.lines() as lines:
        yield from _rows(file, csv.reader(lines))


def read_tsv(file: SourceFile) -> Iterator[Document]:
    """One column, between tabs; quotes mean nothing."""
    with file.lines() as lines:
        yield from _rows(file, csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_orange(file: SourceFile) -> Iterator[Document]:
    """As tsv, but the two lines under the header are Orange's types and roles of the columns."""
    with file.lines() as lines:
        rows: Iterator[list[str]] = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if not isinstance(file.settings.text, int):
            head = list(itertools.islice(rows, 3))
            rows = itertools.chain(head[:1], rows)
        yield from _rows(file, rows)


def read_parquet(file: SourceFile) -> Iterator[Document]:
    """One column, a batch of rows at a time."""
    try:
        table = pq.ParquetFile(file.path)
    except Exception as error:  # arrow raises several unrelated classes for a damaged file
        raise Unreadable(f"damaged file: {error}") from None
    column = _column(file, table.schema_arrow.names)
    yield from _batches(file, table.iter_batches(1024, columns=[column]), column)


def read_arrow(file: SourceFile) -> Iterator[Document]:
    """One column of an Arrow stream or file."""
    with file.open() as stream, pa.PythonFile(stream, "r") as source:
        head = source.read(6)
        source.seek(0)
        if head == b"ARROW1":
            opened = pa.ipc.open_file(source)
            batches: Iterable[pa.RecordBatch] = map(opened.get_batch, range(opened.num_record_batches))
        else:
            batches = opened = pa.ipc.open_stream(source)
        yield from _batches(file, batches, _column(file, opened.schema.names))


def _batches(file: SourceFile, batches: Iterable[pa.RecordBatch], column: str) -> Iterator[Document]:
    texts = itertools.chain.from_iterable(batch.column(column).to_pylist() for batch in batches)
    yield from (file.document(str(text or ""), number) for number, text in enumerate(texts, start=1))


def _rows(file: SourceFile, rows: Iterator[list[str]]) -> Iterator[Document]:
    if isinstance(file.settings.text, int):
        place = file.settings.text
    else:
        header = next(rows, [])
        place = header.index(_column(file, header))
    for number, row in enumerate(rows, start=1):
        yield file.document(row[place] if place < len(row) else "", number)


def _column(file: SourceFile, names: list[str]) -> str:
    wanted = file.settings.text
    if wanted is None:
        found = next((name for name in TEXT_COLUMNS for have in names if have.lower() == name), None)
        match = next((have for have in names if found and have.lower() == found), None)
        if match is None:
            raise UserError(
                f"{file.path} has no column that looks like text among: {', '.join(names)}.",
                f"Name it: read.{file.source}.text=COLUMN, or its number where there is no header.",
            )
        return match
    if str(wanted) not in names:
        way_out = nearest(str(wanted), names) or f"There are: {', '.join(names)}."
        raise UserError(f"{file.path} has no column {wanted!r}.", way_out)
    return str(wanted)
