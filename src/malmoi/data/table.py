"""Rows of csv, tsv and jsonl files, compressed ones too."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from malmoi.core.compressed import is_compressed, kind_of, open_unpacked
from malmoi.core.errors import UserError, nearest
from malmoi.corpus.decode import decode, json_text

_JSON_LINES = (".jsonl", ".ndjson")
TABLES = (".tsv", ".csv", *_JSON_LINES)

LARGEST = 1 << 30
"""Bytes of text that a compressed file may hold."""

csv.field_size_limit(1 << 26)


def read_rows(
    path: Path, columns: Sequence[str | int], quotes: bool = False, encoding: str = ""
) -> Iterator[tuple[int, list[str]]]:
    """Number of the line and values of the columns of every row; blank lines are left out.

    Args:
        columns: by name, or all by number from 0 where a table has no header.
        quotes: whether quotation marks enclose fields of a tab-separated file.
        encoding: see `read_text`.

    Raises:
        UserError: a column is missing, or the file is broken; names the line.
    """
    text = read_text(path, encoding)
    if kind_of(path) in _JSON_LINES:
        return _json_rows(path, text, columns)
    return _table_rows(path, text, columns, quotes)


def read_text(path: Path, encoding: str = "") -> str:
    """The text of a file, which may be compressed.

    Args:
        encoding: where it is not to be told by the bytes, such as windows-1252.

    Raises:
        UserError: it is missing, broken or no text.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "Name a file in it.")
    if not path.is_file():
        raise UserError(f"There is no file {path}.", "Check the path.")
    data = _unpacked(path) if is_compressed(path) else path.read_bytes()
    try:
        text = data.decode(encoding) if encoding else decode(data)
    except (LookupError, UnicodeDecodeError) as error:
        way_out = "Leave encoding out, or name another."
        raise UserError(f"{path} cannot be read as {encoding}: {error}.", way_out) from None
    if text is None:
        raise UserError(f"{path} is not text.", "Save it as UTF-8.")
    return text


def json_records(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Number and value of every line of a jsonl file's text; blank lines are left out.

    Raises:
        UserError: a line is no JSON; names it.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except (RecursionError, ValueError) as error:  # numbers of thousands of digits are the latter
                raise UserError(f"{path}, line {number}: not valid JSON ({error}).") from None
            yield number, record


def _unpacked(path: Path) -> bytes:
    try:
        with open_unpacked(path) as file:
            data = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked: {error}.", "Get it again.") from None
    if len(data) > LARGEST:
        raise UserError(f"{path} holds more than {LARGEST:,} bytes.", "Cut it into several files.")
    return data


def _json_rows(path: Path, text: str, columns: Sequence[str | int]) -> Iterator[tuple[int, list[str]]]:
    names = [str(column) for column in columns]
    for number, record in json_records(path, text):
        try:
            yield number, [json_text(record[name]) for name in names]
        except (KeyError, TypeError):
            raise UserError(f"{path}, line {number}: needs the keys {' and '.join(map(repr, names))}.") from None


def _table_rows(path: Path, text: str, columns: Sequence[str | int], quotes: bool) -> Iterator[tuple[int, list[str]]]:
    commas = kind_of(path) == ".csv"
    delimiter, quoted = "," if commas else "\t", quotes or commas
    # Not splitlines(): it would also cut at U+2028, U+0085 and others, which stand inside of texts.
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    by_number = all(isinstance(wanted, int) for wanted in columns)
    header = [] if by_number else next(rows, [])
    places = [_place(path, header, wanted) for wanted in columns]
    try:
        for row in rows:
            if row and max(places) >= len(row):
                raise UserError(f"{path}, line {rows.line_num}: {len(row)} columns, one too few.", "Mend the line.")
            if row:
                yield rows.line_num, [row[place] for place in places]
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: no table ({error}).", "Check the quotation marks.") from None


def _place(path: Path, header: list[str], wanted: str | int) -> int:
    if isinstance(wanted, int):
        return wanted
    if wanted not in header:
        way_out = nearest(wanted, header) or f"There are: {', '.join(header)}."
        raise UserError(f"{path} has no column {wanted!r}.", way_out)
    return header.index(wanted)
