"""Typed settings: an unknown key or a wrong type is an error that names the key and the nearest right one."""

from __future__ import annotations

import contextlib
import datetime
import re
import types
import typing
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from malmoi.core.errors import UserError, nearest

SettingsType = TypeVar("SettingsType", bound="Settings")

_PREFIX: ContextVar[str] = ContextVar("_PREFIX", default="")

_POWER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


class Settings(BaseModel):
    """Base of every settings class: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def named_files(self) -> list[Path]:
        """Files that a stage reads though they are none of its inputs; what is in them decides on its result too."""
        return []


@contextlib.contextmanager
def keys_of(prefix: str) -> Iterator[None]:
    """Inside, whoever gave the command writes `prefix` in front of a setting: that of a stage in a recipe."""
    token = _PREFIX.set(prefix)
    try:
        yield
    finally:
        _PREFIX.reset(token)


def key_of(setting: str) -> str:
    """A setting of the stage that runs, as whoever gave the command has to write it: for ways out of an error."""
    return _PREFIX.get() + setting


def parse_settings(kind: type[SettingsType], values: dict[str, Any], where: str) -> SettingsType:
    """Validate `values` as settings of `kind`.

    Args:
        where: how the user knows these values, such as "stage 'pretrain' of quickstart.yaml".

    Raises:
        UserError: names the first unknown or else wrong key, what is wrong with it, and the nearest right key.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # a mistyped key leaves the right one missing, so the unknown one is told first
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        path = [str(part) for part in first["loc"]]
        key = ".".join(path)
        if first["type"] == "extra_forbidden":
            known = _fields_at(kind, path[:-1])
            way_out = nearest(path[-1], known) or f"Known here: {', '.join(sorted(known))}."
            raise UserError(f"Unknown setting {key!r} in {where}.", way_out) from None
        if first["type"] == "missing":
            raise UserError(f"Setting {key!r} is missing in {where}.", f"Add {key}=VALUE.") from None
        message = first["msg"].removeprefix("Value error, ")
        if not path:  # several settings together; what is wrong says which
            raise UserError(f"In {where}: {message}.") from None
        if first["type"] == "path_type" and type(first["input"]) in (int, float):
            way_out = f"Write ./{first['input']} for what is called so."
            raise UserError(f"Setting {key!r} in {where}: {first['input']} is a number.", way_out) from None
        raise UserError(f"Setting {key!r} in {where}: {message}.", f"It was {first['input']!r}.") from None


def _fields_at(kind: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the settings class reached from `kind` along `path`."""
    parts = iter(path)
    for part in parts:
        field = kind.model_fields.get(part)
        inner = _settings_class(field.annotation) if field else None
        if field is None or inner is None:
            return []
        kind = inner
        if typing.get_origin(field.annotation) in (dict, list):
            next(parts, None)  # the user's own name, or a number
    return list(kind.model_fields)


def _settings_class(annotation: Any) -> type[BaseModel] | None:
    """The settings class inside an annotation such as `X`, `X | None` or `list[X]`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for inner in typing.get_args(annotation):
        found = _settings_class(inner)
        if found is not None:
            return found
    return None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: the file is missing, is not YAML (with line and column), or holds no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a YAML mapping.", "Start it with 'key: value' lines.")
    return content


def apply_override(values: dict[str, Any], assignment: str) -> None:
    """Set one `key.inner=value` in nested `values`, in place; the value is read as YAML.

    Raises:
        UserError: there is no '=' or the key leads through something that is not a mapping.
    """
    key, separator, text = assignment.partition("=")
    if not separator or not key:
        raise UserError(f"{assignment!r} is not an override.", "Write it as key=value, for example pretrain.minutes=2.")
    set_value(values, key, parse_value(text))


def parse_value(text: str) -> Any:
    """A value as YAML has it; what is none, or a date, which no setting is but a folder's name may be, stays text.

    1e-3 is a number, which YAML 1.1 wants written 1.0e-3.
    """
    if _POWER.fullmatch(text):
        return float(text)
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # 2024-02-30 is the latter
        return text
    return text if isinstance(value, datetime.date) else value


def set_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Set `key.inner` in nested `values`, in place.

    Raises:
        UserError: the key leads through something that is not a mapping.
    """
    *parents, last = key.split(".")
    target = values
    for parent in parents:
        inner = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"Setting {key!r}: {parent!r} is a value, not a group of settings.")
        target = inner
    target[last] = value
