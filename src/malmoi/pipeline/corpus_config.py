"""A corpus described in one file: fetched, built and reported as a recipe of three stages."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from malmoi.core.config import apply_override, read_yaml
from malmoi.core.errors import UserError, nearest
from malmoi.pipeline.corpus_settings import CorpusSettings
from malmoi.pipeline.recipe import Recipe, build_step

THOROUGH: dict[str, Any] = {
    "languages": ["en", "ko"],
    "rules": True,
    "harmful": True,
    "personal": True,
    "near_duplicates": 0.8,
    "repeated_lines": 10,
    "provenance": True,
}
"""What `malmoi corpus build` does unless the file says otherwise; the stage of a recipe does what is asked for."""


def load_corpus_config(name: str, overrides: list[str]) -> Recipe:
    """The stages that build a corpus from a YAML file with the settings of the corpus stage.

    Sources that are named without a `fetch` are fetched first.

    Args:
        name: a YAML file, or a shipped example.
        overrides: `key=value` assignments.

    Raises:
        UserError: no such file, or a wrong key or value in it.
    """
    path = _path(name)
    values = THOROUGH | read_yaml(path)
    about, language = str(values.pop("about", "")), values.pop("report", "en")
    for assignment in overrides:
        apply_override(values, assignment)
    entries: dict[str, dict[str, Any]] = {}
    wanted = [str(one).partition("/")[0] for key in ("sources", "exclude") for one in values.get(key) or []]
    if wanted and "fetch" not in values:
        entries["fetch"] = {"stage": "fetch", "sources": list(dict.fromkeys(wanted))}
        values |= {"fetch": "fetch", "sources": values.get("sources") or []}  # what is excluded is no source
    entries["corpus"] = {"stage": "corpus", **values}
    entries["report"] = {"stage": "report", "stages": list(entries), "language": language}
    steps = [build_step(entry, name, path.name) for name, entry in entries.items()]
    return Recipe(path.stem, about, steps, entries)


def corpus_settings(recipe: Recipe, fetched: Path) -> CorpusSettings:
    """The settings of the corpus stage, its inputs resolved, when its sources have been fetched into `fetched`."""
    settings = next(step.settings for step in recipe.steps if step.kind == "corpus")
    assert isinstance(settings, CorpusSettings)
    return settings.model_copy(update={"fetch": fetched}) if settings.fetch == Path("fetch") else settings


def _path(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder = resources.files("malmoi.recipes") / "corpora"
    shipped = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir())
    if name not in shipped:
        raise UserError(f"There is no file {name}.", nearest(name, shipped) or f"Examples: {', '.join(shipped)}.")
    return Path(str(folder / f"{name}.yaml"))
