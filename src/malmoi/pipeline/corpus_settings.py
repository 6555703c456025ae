"""What a corpus is made of, and by which names its sources go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from malmoi.core.config import Settings, key_of
from malmoi.core.errors import UserError, nearest
from malmoi.corpus.read import ReadSettings
from malmoi.corpus.settings import BuildSettings
from malmoi.pipeline.stage import StageInput
from malmoi.pipeline.stages.fetch import FetchSettings

OWN = "folder"
"""The source of what is read from a folder of one's own."""


class CorpusSettings(BuildSettings):
    """Settings of the stage.

    Attributes:
        fetch: a fetch stage.
        sources: which of its sources, all by default; "SOURCE/FILE" for one file of a source.
        crawl: a crawl stage; its pages are the source `crawl`.
        folder: your own folder of text; every file in it that can be read, in its subfolders too.
        folders: several of them, each a source of its folder's name, with the name before it where two share one.
        read: how to read a source, by its name (`folder` for your own).
        exclude: "SOURCE/FILE" of fetched files whose texts must not get into the corpus.
        exclude_files: files or folders of your own whose texts must not.
        evaluation: labelled texts of the fetch stage whose test parts must not get in either, in the words of
            `classify`, or with `stage: questions` of that stage; by default those that other stages of the recipe are
            tested on.
        quality: a quality model that `malmoi corpus train-filter` made.
        mixture: source -> its share of the tokens that a model is trained on; what a source that is too small cannot
            give, the others do.
        tokens: of the whole mixture; what a source has beyond its share is left out. By default nothing is, and the
            shares are those of the most tokens for which every source is large enough.
        most_epochs: how often the text of one source may be read.
    """

    fetch: StageInput | None = None
    sources: list[str] | None = None
    crawl: StageInput | None = None
    folder: StageInput | None = None
    folders: list[StageInput] = []
    read: dict[str, ReadSettings] = {}
    exclude: list[str] = []
    exclude_files: list[StageInput] = []
    evaluation: list[dict[str, Any]] | None = None
    quality: StageInput | None = None
    mixture: dict[str, float] = {}
    tokens: int | None = Field(default=None, ge=1)
    most_epochs: float = Field(default=4.0, gt=0)

    @field_validator("exclude")
    @classmethod
    def _are_fetched(cls, names: list[str]) -> list[str]:
        for name in names:
            if name.startswith(("/", "~", ".")):
                raise ValueError(f"{name} is no SOURCE/FILE; files of your own go into 'exclude_files'")
        return names


def named_sources(settings: CorpusSettings, stages: Mapping[str, Settings]) -> set[str] | None:
    """What the sources of a corpus will be called, by the settings of a recipe's stages; None where only files tell."""
    wanted, fetch = settings.sources, stages.get(str(settings.fetch))
    if wanted is None and isinstance(fetch, FetchSettings):
        wanted = fetch.sources
    if settings.folders or (settings.fetch is not None and wanted is None):
        return None
    fetched = wanted if settings.fetch is not None and wanted is not None else []
    if any(name.startswith("hf:") for name in fetched):
        return None
    own = {"crawl": settings.crawl, OWN: settings.folder}
    return {name.partition("/")[0] for name in fetched} | {name for name, path in own.items() if path is not None}


def check_mixture(corpus: Path, mixture: Iterable[str], stages: Mapping[str, Settings]) -> None:
    """Refuse a mixture of sources that the corpus of a recipe will not have, where that is known before it is made.

    Raises:
        UserError: there is no such source; names the nearest one.
    """
    settings = stages.get(str(corpus))
    if isinstance(settings, CorpusSettings) and (sources := named_sources(settings, stages)):
        _check_sources("mixture", mixture, sources)


def _check_sources(setting: str, names: Iterable[str], sources: set[str]) -> None:
    for name in sorted(set(names) - sources):
        way_out = nearest(name, sources) or f"Sources: {', '.join(sorted(sources))}."
        raise UserError(f"{key_of(setting)} names the source {name!r}, which is not read.", way_out)


def check_names(settings: CorpusSettings, sources: set[str]) -> None:
    """Refuse names of sources that are not among these.

    Raises:
        UserError: there is one; names the nearest.
    """
    _check_sources("read", settings.read, sources)
    _check_sources("mixture", settings.mixture, sources)
