"""A recipe: a list of stages with their settings, read from YAML, changed by overrides."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from malmoi.core.config import Settings, apply_override, keys_of, parse_settings, read_yaml
from malmoi.core.errors import UserError, nearest
from malmoi.parallel.layout import AnyLayout, Layout
from malmoi.pipeline.stage import Stage, find_stage, is_input

TIMED = ("pretrain", "pretrain-encoder", "translator")
"""Kinds of stages that train from scratch, for a number of minutes if they are given one."""

_NAME = re.compile(r"\w[\w-]*")
"""Of a stage: a folder's, and without the dot that parts it from its settings in an override."""


@dataclass(frozen=True)
class Step:
    """One stage of a recipe.

    Attributes:
        kind: which stage it is.
        name: its directory in the run, by which later stages refer to it; the kind unless the recipe says otherwise.
        settings: validated; inputs are still names or paths as the recipe wrote them.
        parallel: how several processes share its trainings.
        prefix: what stands before its settings on the command line; "" for a stage that is run alone.
    """

    kind: str
    name: str
    stage: Stage
    settings: Settings
    parallel: Layout = dataclasses.field(default_factory=Layout)
    prefix: str = ""

    def inputs(self) -> dict[str, list[Path]]:
        """Settings fields that name earlier stages or paths, with their values."""
        found = {}
        for field, info in type(self.settings).model_fields.items():
            value = getattr(self.settings, field)
            if not is_input(info) or value is None:
                continue
            found[field] = list(value) if isinstance(value, (list, tuple)) else [value]
        return found

    def with_inputs(self, resolved: dict[str, list[Path]]) -> Settings:
        """The settings with every input replaced by the directory it stands for."""
        update: dict[str, Any] = {}
        for field, paths in resolved.items():
            is_list = isinstance(getattr(self.settings, field), (list, tuple))
            update[field] = paths if is_list else paths[0]
        return self.settings.model_copy(update=update)


@dataclass(frozen=True)
class Recipe:
    """A named list of steps.

    Attributes:
        about: one sentence for the list of recipes.
        entries: by the names of the steps, what was written of each, overrides included.
    """

    name: str
    about: str
    steps: list[Step]
    entries: dict[str, dict[str, Any]]


def shipped_recipes() -> dict[str, str]:
    """Name -> what it is about, of the recipes that come with malmoi."""
    folder = resources.files("malmoi.recipes")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {
        file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text(encoding="utf-8"))["about"] for file in files
    }


def load_recipe(name: str, overrides: list[str], minutes: float | None = None, fit: bool = False) -> Recipe:
    """Read and validate a recipe.

    Args:
        name: a shipped recipe, a YAML file, or a folder of text (which is grown by the recipe `folder`); a folder that
            is called like a shipped recipe is named with its path, such as ./quickstart.
        overrides: `stage.key=value` assignments.
        minutes: time for every stage that trains from scratch, instead of what the recipe says; steps or tokens that
            are overridden too are kept.
        fit: whether every pretraining takes the largest micro-batches that fit into the memory that is available; the
            rows of a step stay what they are.

    Raises:
        UserError: unknown recipe, stage or key (with the nearest right one), or a wrong value; or there is nothing that
            minutes or fitting would change.
    """
    path = Path(name).expanduser()
    folder = path.resolve() if path.is_dir() and name not in shipped_recipes() else None
    if folder is not None:
        path = _shipped_path("folder")
    elif path.suffix not in (".yaml", ".yml"):
        path = _shipped_path(name)
    content = read_yaml(path)
    entries = _named_entries(content, path)
    if folder is not None:
        entries["corpus"]["folder"] = str(folder)
    if minutes is not None:
        timed = [entry for entry in entries.values() if entry["stage"] in TIMED]
        if not timed:
            raise UserError(f"{path.name} trains nothing from scratch, which minutes are for.", "Leave --minutes out.")
        for entry in timed:
            entry["minutes"] = minutes
            for other in ("steps", "tokens"):
                entry.pop(other, None)
    if fit:
        fitted = [entry for entry in entries.values() if entry["stage"] == "pretrain"]
        if not fitted:
            raise UserError(f"{path.name} pretrains nothing whose micro-batches could be fitted.", "Leave --fit out.")
        for entry in fitted:
            entry["memory"] = "available"
    _override(entries, overrides, path)
    own_name = path.stem if folder is None else folder.name
    return build_recipe(own_name, str(content.get("about", "")), entries, path.name)


def build_recipe(name: str, about: str, entries: dict[str, dict[str, Any]], where: str) -> Recipe:
    """Validate the entries of a recipe.

    Args:
        where: how the user knows it.

    Raises:
        UserError: an unknown kind of stage or key, or a wrong value.
    """
    steps = [
        build_step(values, stage_name, f"stage {stage_name!r} of {where}") for stage_name, values in entries.items()
    ]
    stages = {step.name: step.settings for step in steps}
    return Recipe(name, about, [_in_recipe(step, stages) for step in steps], entries)


def _in_recipe(step: Step, stages: Mapping[str, Settings]) -> Step:
    prefix = f"{step.name}."
    with keys_of(prefix):
        return replace(step, settings=step.stage.in_recipe(step.settings, stages), prefix=prefix)


def build_step(values: dict[str, Any], name: str, where: str) -> Step:
    """Validate one stage's values, `values["stage"]` being its kind."""
    values = dict(values)
    kind = values.pop("stage")
    values.pop("name", None)
    stage = find_stage(kind)
    parallel = parse_settings(_Parallel, {"parallel": values.pop("parallel", {})}, where).parallel
    settings = parse_settings(stage.settings, values, where)
    stage.check(settings)
    return Step(kind, name, stage, settings, parallel)


class _Parallel(Settings):
    """What every stage of a recipe may say."""

    parallel: AnyLayout


def _shipped_path(name: str) -> Path:
    shipped = shipped_recipes()
    if "/" in name:
        raise UserError(f"There is no folder {name}.", "Check the path.")
    if name not in shipped:
        way_out = nearest(name, shipped) or f"Known: {', '.join(shipped)}."
        raise UserError(f"There is no recipe, YAML file or folder {name!r}.", way_out)
    return Path(str(resources.files("malmoi.recipes") / f"{name}.yaml"))


def _named_entries(content: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """The recipe's stages by name.

    Raises:
        UserError: the file is not of a recipe's form, or two stages have one name, or one that is no folder's.
    """
    unknown = set(content) - {"about", "stages", "parallel"}
    if unknown:
        way_out = "A recipe has the keys 'about' and 'stages', and perhaps 'parallel'."
        raise UserError(f"Unknown key {sorted(unknown)[0]!r} in {path}.", way_out)
    stages = content.get("stages")
    if not isinstance(stages, list) or not stages:
        raise UserError(f"{path} lists no stages.", "Add 'stages:' with at least one '- stage: KIND'.")
    entries: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(stages, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("stage"), str):
            raise UserError(f"Entry {number} of 'stages' in {path} has no 'stage'.", "Write '- stage: KIND'.")
        name = str(entry.get("name", entry["stage"]))
        if not _NAME.fullmatch(name):
            raise UserError(
                f"A stage of {path} is called {name!r}.", "Take letters, digits, - and _: its folder is called so too."
            )
        if name in entries:
            raise UserError(f"Two stages of {path} are called {name!r}.", "Give one of them another 'name:'.")
        entries[name] = (
            {"parallel": copy.deepcopy(content["parallel"]), **entry} if "parallel" in content else dict(entry)
        )
    return entries


def _override(entries: dict[str, dict[str, Any]], overrides: list[str], path: Path) -> None:
    for assignment in overrides:
        if assignment.startswith(("parallel.", "parallel=")):
            for entry in entries.values():
                apply_override(entry, assignment)
            continue
        key, equals, value = assignment.partition("=")
        stage, dot, setting = key.partition(".")
        if stage not in entries:
            owner = next((name for name, one in entries.items() if stage in _settings_of(one)), "")
            way_out = f"Write {owner}.{assignment}." if owner else nearest(stage, entries)
            way_out = way_out or f"Its stages: {', '.join(entries)}."
            raise UserError(f"Override {assignment!r}: {path.name} has no stage {stage!r}.", way_out)
        if not dot or not equals:
            raise UserError(f"{assignment!r} is not an override.", "Write it as STAGE.KEY=VALUE.")
        apply_override(entries[stage], f"{setting}={value}")


def _settings_of(entry: dict[str, Any]) -> set[str]:
    """What can be set of a stage."""
    return set(find_stage(entry["stage"]).settings.model_fields)
