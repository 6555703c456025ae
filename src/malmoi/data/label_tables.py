"""Labelled texts as files hold them: tables, jsonl, and files that each have the texts of one class."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.corpus.normalize import normalize
from malmoi.data.batch import Answer
from malmoi.data.labelled import LabelledText
from malmoi.data.table import read_rows, read_text


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
    texts = []
    for number, row in _rows(path, settings):
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


def _rows(path: Path, settings: TableSettings) -> Iterator[tuple[int, list[str]]]:
    """Number, text, label and, where there is one, second text of every line."""
    if path.name in settings.classes:
        for number, line in enumerate(read_text(path, settings.encoding).split("\n"), start=1):
            yield number, [line, settings.classes[path.name]]
        return
    columns = [settings.text, settings.label, *([] if settings.pair is None else [settings.pair])]
    yield from read_rows(path, columns, settings.quotes, settings.encoding)
