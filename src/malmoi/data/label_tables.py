"""Labelled texts as files hold them: tables, jsonl, and files that each have the texts of one class."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

from malmoi.core.config import Settings
from malmoi.core.errors import UserError, nearest
from malmoi.corpus.decode import decode
from malmoi.corpus.normalize import normalize
from malmoi.data.batch import Answer
from malmoi.data.labelled import LabelledText

csv.field_size_limit(1 << 26)


class TableSettings(Settings):
    """How labelled texts stand in a file.

    Attributes:
        text, label: columns, by name, or by number from 0 where the table has no header.
        answer: what a label is: one "class", several "classes" with | between them, or none, or a "number".
        pair: column of the second text, where what is to be classified is a pair.
        classes: file name -> class, of a source whose files each hold the texts of one class, one a line.
        encoding: of the file, where it is not to be told by its bytes, such as windows-1252.
        quotes: whether quotation marks enclose fields of a tab-separated file.
        threshold: for numeric labels: above is "positive", below "negative", equal is left out.
    """

    text: str | int = "text"
    label: str | int = "label"
    answer: Answer = "class"
    pair: str | int | None = None
    classes: dict[str, str] = {}
    encoding: str = ""
    quotes: bool = False
    threshold: float | None = None


def read_labelled(path: Path, settings: TableSettings) -> list[LabelledText]:
    """The labelled texts of a csv, tsv or jsonl file, or of one of `classes`; texts in NFC, empty ones left out.

    Raises:
        UserError: the file or a column is missing, or a label or a second text is, or a label is no number; names the
            line.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}.", "Check the path.")
    texts = []
    if path.name in settings.classes:
        rows = _lines_of_a_class(path, settings)
    else:
        rows = _json_rows(path, settings) if path.suffix == ".jsonl" else _table_rows(path, settings)
    for number, row in rows:
        text, label, *pair = map(normalize, row)
        name = _class_name(label, settings, f"{path}, line {number}")
        if pair == [""]:
            raise UserError(f"{path}, line {number}: the pair has no second text.", "Give it one, or remove the line.")
        if text and name is not None:
            texts.append(LabelledText(text, name, *pair))
    if not texts:
        raise UserError(f"{path} has no labelled text.", "Check the columns: text=COLUMN label=COLUMN.")
    return texts


def _class_name(label: str, settings: TableSettings, where: str) -> str | None:
    threshold = settings.threshold
    if not label and settings.answer != "classes":
        raise UserError(f"{where}: the label is empty.", "Give the text a label, or remove the line.")
    if threshold is None:
        return label
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UserError(f"{where}: the label {label!r} is no number.", "Check the label column.")
    return None if value == threshold else "positive" if value > threshold else "negative"


def _columns(settings: TableSettings) -> list[str | int]:
    return [settings.text, settings.label, *([] if settings.pair is None else [settings.pair])]


def _lines_of_a_class(path: Path, settings: TableSettings) -> Iterator[tuple[int, list[str]]]:
    """Number, text and label of every line."""
    for number, line in enumerate(_text(path, settings.encoding).split("\n"), start=1):
        yield number, [line, settings.classes[path.name]]


def _json_rows(path: Path, settings: TableSettings) -> Iterator[tuple[int, list[str]]]:
    """Number, text, label and, where there is one, second text of every line."""
    columns = [str(column) for column in _columns(settings)]
    for number, line in enumerate(_text(path, settings.encoding).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            yield number, [str(record[column]) for column in columns]
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not valid JSON ({error.msg}).") from None
        except (KeyError, TypeError):
            raise UserError(f"{path}, line {number}: needs the keys {' and '.join(map(repr, columns))}.") from None


def _table_rows(path: Path, settings: TableSettings) -> Iterator[tuple[int, list[str]]]:
    """The same of a table."""
    delimiter = "," if path.suffix == ".csv" else "\t"
    quoted = settings.quotes or path.suffix == ".csv"
    # Not splitlines(): it would also cut at U+2028, U+0085 and others, which stand inside of texts.
    lines = io.StringIO(_text(path, settings.encoding), newline="")
    rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    by_number = all(isinstance(wanted, int) for wanted in _columns(settings))
    header = [] if by_number else next(rows, [])
    columns = [_column(path, header, wanted) for wanted in _columns(settings)]
    try:
        for row in rows:
            if row and max(columns) >= len(row):
                raise UserError(f"{path}, line {rows.line_num}: {len(row)} columns, one too few.", "Mend the line.")
            if row:
                yield rows.line_num, [row[column] for column in columns]
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: no table ({error}).", "Check the quotation marks.") from None


def _column(path: Path, header: list[str], wanted: str | int) -> int:
    if isinstance(wanted, int):
        return wanted
    if wanted not in header:
        way_out = nearest(wanted, header) or f"There are: {', '.join(header)}."
        raise UserError(f"{path} has no column {wanted!r}.", way_out)
    return header.index(wanted)


def _text(path: Path, encoding: str) -> str:
    try:
        text = path.read_bytes().decode(encoding) if encoding else decode(path.read_bytes())
    except (LookupError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as {encoding}: {error}.", "Leave encoding out, or name another."
        ) from None
    if text is None:
        raise UserError(f"{path} is not text.", "Save it as UTF-8.")
    return text
