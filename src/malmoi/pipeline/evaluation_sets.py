"""The labelled texts that the stages of a recipe are tested on, which its corpora must not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from malmoi.core.config import Settings, parse_settings
from malmoi.corpus.document import Document
from malmoi.data.label_tables import TableSettings
from malmoi.data.labelled import SplitSettings
from malmoi.pipeline.labelled_texts import LabelledTextsSettings, read_splits

_DECIDING = {*TableSettings.model_fields, *SplitSettings.model_fields, "source", "test_file"}
"""What decides which texts are tested; other settings of a stage may change without a new corpus."""


def evaluation_sets(fetch: Path | None, stages: Sequence[Settings]) -> list[dict[str, Any]]:
    """What decides on the tested texts, of the stages that read labelled texts of the fetch stage `fetch`."""
    return [
        settings.model_dump(mode="json", include=_DECIDING, exclude_defaults=True)
        for settings in stages
        if isinstance(settings, LabelledTextsSettings) and settings.file is None and settings.fetch == fetch
    ]


def evaluation_documents(sets: Sequence[dict[str, Any]], fetch: Path | None) -> Iterator[Document]:
    """The texts that models are tested on, each of a pair by itself.

    Args:
        sets: fields of `LabelledTextsSettings`.

    Raises:
        UserError: a field is unknown, or has a wrong value.
    """
    for fields in sets:
        settings = parse_settings(LabelledTextsSettings, {**fields, "fetch": fetch}, "'evaluation' of a corpus")
        test = read_splits(settings).test
        for number, labelled in enumerate(test, start=1):
            for text in (labelled.text, labelled.pair):
                if text:
                    yield Document(text, settings.source, "", f"test#{number}")
