"""Which labelled texts a stage learns from and is tested on."""

from __future__ import annotations

from pathlib import Path

from pydantic import NonNegativeInt

from malmoi.core.errors import UserError
from malmoi.data.label_tables import TableSettings, read_labelled
from malmoi.data.labelled import Splits, SplitSettings, split_labelled
from malmoi.pipeline.stage import StageInput
from malmoi.pipeline.stages.fetch import MANIFEST, manifest_files
from malmoi.sources.fetch import fetch_source


class LabelledTextsSettings(TableSettings, SplitSettings):
    """Where labelled texts are, how they are read and how they are split.

    Attributes:
        fetch: a fetch stage that has the texts of `source`.
        source: a card of labelled texts.
        file: your own file of labelled texts, instead of `fetch` and `source`.
        test_file: the test set, instead of a share: name of a file of the same source, or beside `file` the path of
            one of your own, which may lie next to it; texts that stand in it are not learned from.
        limit, test_limit: most texts to learn from and to be tested on; 0 for all.
    """

    fetch: StageInput | None = None
    source: str = "movie-snippets"
    file: StageInput | None = None
    test_file: str | None = None
    limit: NonNegativeInt = 0
    test_limit: NonNegativeInt = 0

    @property
    def are_here(self) -> bool:
        """Whether the texts can be read without fetching anything."""
        return self.file is not None or (self.fetch is not None and (self.fetch / MANIFEST).is_file())

    @property
    def named_files(self) -> list[Path]:
        """See `Settings.named_files`: the test set, where it is a file of one's own."""
        return [] if self.file is None else _test_paths(self)


def read_splits(settings: LabelledTextsSettings) -> Splits:
    """The texts, fetched where they are named by their card alone.

    Raises:
        UserError: as `read_labelled`; or there is no file of the name `test_file`.
    """
    paths, test_paths = _paths(settings), _test_paths(settings)
    texts = [text for path in paths if path not in test_paths for text in read_labelled(path, settings)]
    if settings.test_file is None:
        splits = split_labelled(texts, settings)
    else:
        parts = split_labelled(texts, settings.model_copy(update={"test": 0.0}))
        splits = Splits(parts.train, parts.validation, read_labelled(test_paths[0], settings)).without_tested()
    validation = settings.limit // 8 if settings.limit else len(splits.validation)
    return Splits(
        splits.train[: settings.limit or None],
        splits.validation[: max(1, validation)],
        splits.test[: settings.test_limit or None],
    )


def _test_paths(settings: LabelledTextsSettings) -> list[Path]:
    """The file of the test set, if one is named.

    Raises:
        UserError: there is no such file; names those of the source.
    """
    if settings.test_file is None:
        return []
    named = Path(settings.test_file).expanduser()
    if settings.file is not None:
        places = [named, settings.file.parent / named]
    else:
        places = [path for path in _paths(settings) if path.name == settings.test_file]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        names = sorted(path.name for path in _paths(settings))
        known = "Check the path." if settings.file is not None else f"Its files: {', '.join(names)}."
        raise UserError(f"There is no file {settings.test_file!r}, which test_file names.", known)
    return [found]


def _paths(settings: LabelledTextsSettings) -> list[Path]:
    if settings.file is not None:
        return [settings.file]
    if settings.fetch is not None:
        return manifest_files(settings.fetch, settings.source)
    return fetch_source(settings.source)
