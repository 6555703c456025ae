"""The labelled texts that the stages of a recipe are tested on, which its corpora must not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from malmoi.core.config import Settings
from malmoi.corpus.document import Document
from malmoi.data.label_tables import TableSettings
from malmoi.data.labelled import SplitSettings
from malmoi.pipeline.labelled_texts import LabelledTextsSettings, read_splits

_DECIDING = {*TableSettings.model_fields, *SplitSettings.model_fields, "source", "test_file"}
"""What decides which texts are tested; other settings of a stage may change without a new corpus."""


def evaluation_sets(fetch: Path | None, stages: Sequence[Settings]) -> list[LabelledTextsSettings]:
    """The labelled texts among the settings of stages that come from the fetch stage `fetch`."""
    return [
        LabelledTextsSettings(**settings.model_dump(include=_DECIDING))
        for settings in stages
        if isinstance(settings, LabelledTextsSettings) and settings.file is None and settings.fetch == fetch
    ]


def evaluation_documents(sets: Sequence[LabelledTextsSettings], fetch: Path | None) -> Iterator[Document]:
    """The texts that models are tested on, each of a pair by itself."""
    for settings in sets:
        test = read_splits(settings.model_copy(update={"fetch": fetch})).test
        for number, labelled in enumerate(test, start=1):
            for text in (labelled.text, labelled.pair):
                if text:
                    yield Document(text, settings.source, "", f"test#{number}")
