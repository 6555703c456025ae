"""Tables: csv, tsv, Orange's tab, jsonl, parquet, and Arrow files as data sets of Hugging Face are saved."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from malmoi.core.errors import UserError, nearest
from malmoi.corpus.decode import json_text
from malmoi.corpus.document import Document
from malmoi.corpus.readers.file import SourceFile
from malmoi.corpus.readers.pictures import read_pictures

TEXT_COLUMNS = ("text", "content", "document", "body", "review", "sentence", "message")
PATIENCE = 100
"""Lines of jsonl of which one must have the column."""
csv.field_size_limit(1 << 26)


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE


def read_json_lines(file: SourceFile) -> Iterator[Document]:
    """One column of every record; a line without it is an empty document, so that the counts show it.

    Raises:
        UserError: none of the first records has it.
    """
    column, problem = "", None
    with file.lines() as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            record = _record(line)
            if record is not None and not column:
                try:
                    column = _column(file, list(record))
                except UserError as error:
                    problem = error
                    if number >= PATIENCE:
                        break
            if record is None:
                yield file.document("", number, unreadable="no JSON object")
            elif column not in record:
                yield file.document("", number, unreadable="no text column")
            elif isinstance(record[column], list | dict):
                yield file.document("", number, unreadable="no text in the column")
            else:
                yield file.document(json_text(record[column]), number)
    if problem is not None and not column:
        raise problem


def read_csv(file: SourceFile) -> Iterator[Document]:
    """One column, between commas; or a picture in every row."""
    if file.settings.picture_width:
        yield from read_pictures(file, file.settings.picture_width)
    else:
        yield from _rows(file, csv.excel)


def read_tsv(file: SourceFile) -> Iterator[Document]:
    """One column, between tabs; quotes mean nothing."""
    yield from _rows(file, _Tabs)


def read_orange(file: SourceFile) -> Iterator[Document]:
    """As tsv, but the two lines under the header are Orange's types and roles of the columns."""
    yield from _rows(file, _Tabs, roles=2)


def read_parquet(file: SourceFile) -> Iterator[Document]:
    """One column, a batch of rows at a time."""
    table = pq.ParquetFile(file.path)
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
    texts = itertools.chain.from_iterable(_texts(file, batch, column) for batch in batches)
    yield from (file.document(text or "", number) for number, text in enumerate(texts, start=1))


def _texts(file: SourceFile, batch: pa.RecordBatch, column: str) -> list[str | None]:
    """The text of each row; of a column of bytes, as files without types of text have it, that in UTF-8."""
    batch.validate(full=True)  # what Arrow does with offsets that lead astray is to end the process
    values = batch[column]
    if pa.types.is_nested(values.type):
        raise UserError(
            f"{file.path}: the column {column!r} holds {values.type}, no text.",
            f"Name another: read.{file.source}.text=COLUMN.",
        )
    texts: list[str | None] = values.cast(pa.large_string()).to_pylist()
    return texts


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # numbers of thousands of digits are the former
        return None
    return record if isinstance(record, dict) else None


def _rows(file: SourceFile, dialect: type[csv.Dialect], roles: int = 0) -> Iterator[Document]:
    """The rows under the header and the lines of `roles` below it, or all where the column is a number."""
    with file.lines() as lines:
        rows: Iterator[list[str]] = csv.reader(lines, dialect)
        place = file.settings.text
        if not isinstance(place, int):
            header = next(rows, [])
            place = header.index(_column(file, header))
            rows = itertools.islice(rows, roles, None)
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
