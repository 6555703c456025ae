"""Readers: one for each kind of file, all of them giving documents."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from malmoi.core.config import Settings
from malmoi.core.errors import UserError, nearest
from malmoi.corpus.decode import decode, detect_encoding
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.html import html_text
from malmoi.corpus.mediawiki import wiki_pages

TEXT_COLUMNS = ("text", "content", "document", "body", "review", "sentence", "message")
SAMPLE = 1 << 20
LARGEST_TEXT = 1 << 30
_SURROGATES = re.compile("[\ud800-\udfff]")
csv.field_size_limit(1 << 26)


class ReadSettings(Settings):
    """How to read the files of a source.

    Attributes:
        text: column of the text in tables and jsonl: its name, or its number from 0 in a table without a header;
            by default the first of text, content, document, body, review, sentence, message.
        split: what is one document of a plain text: the file, a paragraph (blank line) or a line.
    """

    text: str | int | None = None
    split: Literal["file", "paragraph", "line"] = "file"


@dataclass(frozen=True)
class _File:
    path: Path
    source: str
    licence: str
    settings: ReadSettings

    def document(self, text: str, place: object, **metadata: Any) -> Document:
        return Document(text, self.source, self.licence, f"{self.path.name}#{place}", metadata)


def read_file(path: Path, source: str, licence: str, settings: ReadSettings) -> Iterator[Document]:
    """The documents of one file.

    Raises:
        Unreadable: no text: binary, damaged, of a kind that is not known.
        UserError: the column that the settings name does not exist.
    """
    kind = document_kind(path)
    if kind is None:
        raise Unreadable("unknown kind of file")
    if not path.stat().st_size:
        raise Unreadable("empty file")
    try:
        yield from _READERS[kind](_File(path, source, licence, settings))
    except (EOFError, OSError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise Unreadable(f"damaged file: {error}") from None


def document_kind(path: Path) -> str | None:
    """The suffix that decides how a file is read, without that of its compression; None when nobody reads it."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _OPENERS:
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ".txt"
    return kind if kind in _READERS else None


def _open(path: Path) -> IO[bytes]:
    opener: Callable[[Path], IO[bytes]] = _OPENERS.get(path.suffix.lower(), lambda path: path.open("rb"))
    return opener(path)


def _open_zstd(path: Path) -> Any:
    return pa.input_stream(str(path), compression="zstd")  # all frames; an OSError where it is cut short


_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".zst": _open_zstd}


def _lines(file: _File) -> io.TextIOWrapper:
    """The file as a stream of text in the encoding that its beginning shows."""
    with _open(file.path) as stream:
        encoding = detect_encoding(stream.read(SAMPLE), whole=False)
    if encoding is None:
        raise Unreadable("no text")
    return io.TextIOWrapper(_open(file.path), encoding, errors="replace", newline="")


def _read_plain(file: _File) -> Iterator[Document]:
    if file.settings.split == "line":
        with _lines(file) as lines:
            yield from (file.document(line, number) for number, line in enumerate(lines, start=1) if line.strip())
        return
    text = _whole_text(file)
    pieces = text.replace("\r\n", "\n").split("\n\n") if file.settings.split == "paragraph" else [text]
    yield from (file.document(piece, number) for number, piece in enumerate(pieces, start=1) if piece.strip())


def _whole_text(file: _File) -> str:
    with _open(file.path) as stream:
        data = stream.read(LARGEST_TEXT + 1)
    if len(data) > LARGEST_TEXT:
        raise Unreadable("more than 1 GiB in one text; split it into several files")
    text = decode(data)
    if text is None:
        raise Unreadable("no text")
    return text


def _read_html(file: _File) -> Iterator[Document]:
    text = html_text(_whole_text(file), file.path)
    if text is None:
        raise Unreadable("no text in the page")
    yield file.document(text, 1)


def _read_wiki(file: _File) -> Iterator[Document]:
    with _open(file.path) as stream:
        for title, text in wiki_pages(stream):
            yield file.document(text, title, title=title)


def _read_json_lines(file: _File) -> Iterator[Document]:
    with _lines(file) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                record = None
            if not isinstance(record, dict):
                yield file.document("", number, unreadable="no JSON object")  # dropped, so that the counts show it
                continue
            text = str(record[_column(file, list(record))] or "")
            yield file.document(_SURROGATES.sub("\ufffd", text), number)


def _read_table(file: _File) -> Iterator[Document]:
    kind = document_kind(file.path)
    with _lines(file) as lines:
        rows: Iterator[list[str]]
        if kind == ".csv":
            rows = csv.reader(lines)
        else:
            rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if isinstance(file.settings.text, int):
            place = file.settings.text
        else:
            header = next(rows, [])
            place = header.index(_column(file, header))
            if kind == ".tab":
                rows = itertools.islice(rows, 2, None)  # Orange's types and roles of the columns
        for number, row in enumerate(rows, start=1):
            yield file.document(row[place] if place < len(row) else "", number)


def _read_parquet(file: _File) -> Iterator[Document]:
    try:
        table = pq.ParquetFile(file.path)
    except Exception as error:  # arrow raises several unrelated classes for a damaged file
        raise Unreadable(f"damaged file: {error}") from None
    column = _column(file, table.schema_arrow.names)
    number = 0
    for batch in table.iter_batches(1024, columns=[column]):
        for text in batch.column(0).to_pylist():
            number += 1
            yield file.document(str(text or ""), number)


def _column(file: _File, names: list[str]) -> str:
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


_READERS: dict[str, Callable[[_File], Iterator[Document]]] = {
    **dict.fromkeys((".txt", ".md", ".markdown", ".rst"), _read_plain),
    **dict.fromkeys((".html", ".htm"), _read_html),
    **dict.fromkeys((".csv", ".tsv", ".tab"), _read_table),
    **dict.fromkeys((".jsonl", ".ndjson"), _read_json_lines),
    ".xml": _read_wiki,
    ".parquet": _read_parquet,
}
