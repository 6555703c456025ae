"""Examples of a task: what is asked and what is to be answered, each on one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.corpus.normalize import normalize
from malmoi.data.label_tables import TableSettings, read_labelled

COLUMNS = TableSettings(text="input", label="output")
"""Where the two stand in a table, unless told otherwise."""

CATALOGUE = ("message", "translation")

_CONTEXT = "\x04"
"""What gettext puts between the context of a message and the message."""


@dataclass(frozen=True)
class Example:
    """What is asked and what is to be answered, without line breaks."""

    input: str
    output: str


def read_examples(path: Path, settings: TableSettings = COLUMNS) -> list[Example]:
    """The examples of a csv, tsv or jsonl file, or of a .json catalogue of translations; each input once, in NFC.

    A catalogue is an object of message to translation, or to a list that begins with it, as gettext's JSON form has it;
    its columns are `message` and `translation`.

    Args:
        settings: its `text` is the column of what is asked, its `label` of what is to be answered.

    Raises:
        UserError: the file or a column is missing; names the line.
    """
    if path.suffix == ".json":
        found = _catalogue(path, settings)
    else:
        found = [Example(one_line(one.text), one_line(one.label)) for one in read_labelled(path, settings)]
    return without_repeats(found)


def without_repeats(examples: Sequence[Example]) -> list[Example]:
    """The first example of each input; case does not count."""
    kept: dict[str, Example] = {}
    for example in examples:
        kept.setdefault(example.input.casefold(), example)
    return list(kept.values())


def _catalogue(path: Path, settings: TableSettings) -> list[Example]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a catalogue of translations.", "Write {message: translation, ...}.")
    for column in (settings.text, settings.label):
        if column not in CATALOGUE:
            raise UserError(f"{path} has no column {column!r}.", f"A catalogue has: {', '.join(CATALOGUE)}.")
    rows = [
        dict(zip(CATALOGUE, (one_line(message.rpartition(_CONTEXT)[2]), one_line(_first(translation))), strict=True))
        for message, translation in content.items()
        if message  # the empty one stands for the catalogue itself
    ]
    examples = [Example(row[str(settings.text)], row[str(settings.label)]) for row in rows if all(row.values())]
    if not examples:
        raise UserError(f"{path} has no translation.", "Write {message: translation, ...}.")
    return examples


def _first(translation: Any) -> str:
    """The translation, or the one of the singular."""
    first = translation[0] if isinstance(translation, list) and translation else translation
    return first if isinstance(first, str) else ""


def one_line(text: str) -> str:
    """The text in NFC with single blanks."""
    return " ".join(normalize(text).split())
